import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";

/** The seconds that google.protobuf.Timestamp can express: 0001-01-01 to 9999-12-31. Source: timestamp.proto. */
const timestampFirstSeconds = -62_135_596_800n;
const timestampLastSeconds = 253_402_300_799n;

/** A point in time as a message.     Units: whole microseconds since the Unix epoch, which may be negative. */
export function timestampFromUs(us: number): Timestamp {
  const seconds = Math.floor(us / 1_000_000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: Math.round(us - seconds * 1_000_000) * 1_000 });
}

/** A point in time as a message.     Units: whole milliseconds since the Unix epoch. */
export function timestampFromMs(ms: number): Timestamp {
  return timestampFromUs(ms * 1_000);
}

/**
 * A point in time as milliseconds since the Unix epoch, rounded down; undefined when the message is outside of what a Timestamp may hold, which a
 * binary peer can send.
 */
export function msFromTimestamp(time: Timestamp): number | undefined {
  if (time.seconds < timestampFirstSeconds || time.seconds > timestampLastSeconds) return undefined;
  if (time.nanos < 0 || time.nanos > 999_999_999) return undefined;
  return Number(time.seconds) * 1_000 + Math.floor(time.nanos / 1_000_000);
}

/** A length of time as a message.     Units: milliseconds with fractions, rounded to the nanosecond; sign kept in both members. */
export function durationFromMs(ms: number): Duration {
  const seconds = Math.trunc(ms / 1_000);
  const nanos = Math.round((ms - seconds * 1_000) * 1_000_000);
  const carry = Math.trunc(nanos / 1_000_000_000);
  // Adding 0 turns the -0 of a rounded negative fraction into 0.
  return create(DurationSchema, { seconds: BigInt(seconds + carry), nanos: nanos - carry * 1_000_000_000 + 0 });
}
