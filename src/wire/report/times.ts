import type { Instant, Span } from "../../interaction/event.js";

/** A time or a length of time as read, or why it cannot be. `reason` and `description` are those of a FieldFault. */
export type ReadTime<T> =
  | { readonly kind: "time"; readonly time: T }
  | { readonly kind: "fault"; readonly reason: string; readonly description: string };

/** Seconds from which a number is taken for milliseconds: in seconds it is the year 5138, in milliseconds the year 1973. */
const secondsEnd = 100_000_000_000;

const isoForm = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/;
const decimalForm = /^(-?)(\d{1,18})(?:\.(\d+))?$/;

/**
 * A point in time: an ISO 8601 text with its zone, or seconds since the Unix epoch as a number or as a decimal text. Digits below the nanosecond are cut off.
 * Milliseconds in place of seconds are refused and not guessed at: a guess would be wrong by a factor of 1,000 sometimes.
 */
export function readInstant(value: unknown): ReadTime<Instant> {
  if (typeof value === "string") {
    const iso = isoForm.exec(value);
    if (iso !== null) return readIso(iso);
    if (!decimalForm.test(value)) {
      return fault("MALFORMED", 'must be an ISO 8601 time with its zone, for example "2026-01-31T12:00:00.123Z", or seconds since 1970');
    }
  } else if (typeof value !== "number") {
    return fault("MALFORMED", "must be an ISO 8601 time or seconds since 1970");
  }
  const split = splitSeconds(value);
  if (split === undefined || split.seconds >= secondsEnd)
    return fault("OUT_OF_RANGE", "must be seconds since 1970; this looks like milliseconds or less");
  if (split.seconds < 0) return fault("OUT_OF_RANGE", "must be after 1970-01-01T00:00:00Z");
  return { kind: "time", time: { seconds: BigInt(split.seconds), nanos: split.nanos } };
}

/** A length of time in seconds: a number, or a decimal text with or without the unit, as the JSON mapping of Protocol Buffers writes it ("1.5s"). */
export function readSpan(value: unknown): ReadTime<Span> {
  const text = typeof value === "string" ? value.replace(/s$/, "") : value;
  const isDecimal = typeof text === "number" || (typeof text === "string" && decimalForm.test(text));
  if (!isDecimal) return fault("MALFORMED", "must be a number of seconds");
  const split = splitSeconds(text);
  if (split === undefined) return fault("OUT_OF_RANGE", "is too long");
  if (split.seconds < 0) return fault("OUT_OF_RANGE", "must not be negative");
  return { kind: "time", time: { seconds: BigInt(split.seconds), nanos: split.nanos } };
}

/** `seconds` is -1 for whatever is negative; undefined for what has no 18 digits before the point. */
type Split = { readonly seconds: number; readonly nanos: number };

/** By its decimal digits, so that 5.333 is 5 s and 333,000,000 ns exactly, whoever wrote it. */
function splitSeconds(value: number | string): Split | undefined {
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-6) return splitSeconds(value.toFixed(9)); // would be written with an exponent
  const match = decimalForm.exec(String(value));
  if (match === null) return undefined;
  const [, sign = "", whole = "", fraction = ""] = match;
  const seconds = Number(whole);
  const nanos = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign === "-" && (seconds > 0 || nanos > 0)) return { seconds: -1, nanos: 0 };
  return { seconds, nanos };
}

function readIso(match: RegExpExecArray): ReadTime<Instant> {
  const [, year = "", month = "", day = "", hour = "", minute = "", second = "", fraction = "", zone = ""] = match;
  const localMs = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const local = new Date(localMs);
  const isReal =
    Number(year) >= 1970 &&
    local.getUTCMonth() === Number(month) - 1 &&
    local.getUTCDate() === Number(day) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60;
  const offsetMinutes = zone.length === 1 ? 0 : Number(`${zone.charAt(0)}1`) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4, 6)));
  if (Number(year) < 1970) return fault("OUT_OF_RANGE", "must be after 1970-01-01T00:00:00Z");
  if (!isReal || Math.abs(offsetMinutes) > 24 * 60) return fault("MALFORMED", "names no day or time of day that there is");
  const seconds = localMs / 1_000 - offsetMinutes * 60;
  if (seconds < 0) return fault("OUT_OF_RANGE", "must be after 1970-01-01T00:00:00Z");
  return { kind: "time", time: { seconds: BigInt(seconds), nanos: Number(fraction.padEnd(9, "0")) } };
}

function fault(reason: string, description: string): { readonly kind: "fault"; readonly reason: string; readonly description: string } {
  return { kind: "fault", reason, description };
}
