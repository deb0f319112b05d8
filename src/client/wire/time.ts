import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

/** The shape of a Duration or Timestamp before it is a message. */
type SecondsAndNanos = { readonly seconds: bigint; readonly nanos: number };

/** A wall time as the wire wants it.     Units: milliseconds since the Unix epoch; fractions become nanoseconds. */
export function timestampOf(epochMs: number): SecondsAndNanos {
  const seconds = Math.floor(epochMs / 1000);
  return { seconds: BigInt(seconds), nanos: Math.min(999_999_999, Math.round((epochMs - seconds * 1000) * 1_000_000)) };
}

/** A length of time as the wire wants it.     Units: milliseconds, not negative. */
export const durationOf = (ms: number): SecondsAndNanos => timestampOf(ms);

/** Milliseconds of a Duration or Timestamp; `absentMs` when there is none. */
export function msOf(value: Duration | Timestamp | undefined, absentMs: number): number {
  return value === undefined ? absentMs : Number(value.seconds) * 1000 + value.nanos / 1_000_000;
}
