import { assert } from "../platform/assert.js";

const pattern = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?\+00$/;

/** The time that Postgres wrote as text in a session with TimeZone UTC.     Units: microseconds since the Unix epoch. */
export function microsOfTimestamp(text: string): number {
  const found = pattern.exec(text);
  assert(found !== null, "a timestamptz column is read in UTC");
  const [, year, month, day, hour, minute, second, fraction = ""] = found;
  const ms = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  return ms * 1000 + Number(fraction.padEnd(6, "0"));
}

/** The inverse of microsOfTimestamp, to the microsecond. */
export function timestampOfMicros(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = (micros - seconds * 1_000_000).toString().padStart(6, "0");
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

/** Length of one slot of interaction.last_event_slot. Reason and measurements: SPEC.md, decision 3.     Units: microseconds. */
export const slotMicros = 10_000_000;

/** Bounds of the column: 10-second slots of the years 1289 to 2650, in which all events lie. */
const [slotMin, slotMax] = [-(2 ** 31), 2 ** 31 - 1];

/**
 * The slot of a time: the same order, coarser, so that an index over it does not change with every event. Times beyond the column's range, which a
 * query may name, are in its first or last slot.
 */
export const slotOf = (micros: number): number => Math.min(slotMax, Math.max(slotMin, Math.floor(micros / slotMicros)));
