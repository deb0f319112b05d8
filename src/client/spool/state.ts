import { z } from "zod";
import { noTotals, type Totals } from "./totals.js";

const count = z.number().int().nonnegative();

/** What a spool knows of itself, written with every transaction: the last place given out, and how much there is. */
const stateShape = z.object({
  lastPlace: count,
  events: count,
  bytes: count,
  progressEvents: count,
  progressBytes: count,
  setAside: count,
  setAsideBytes: count,
});

export type SpoolState = { readonly lastPlace: number; readonly totals: Totals };

export const encodeState = ({ lastPlace, totals }: SpoolState): Buffer => Buffer.from(JSON.stringify({ lastPlace, ...totals }));

/** Reads back what `encodeState` wrote; undefined when these are other bytes. */
export function decodeState(bytes: Buffer | undefined): SpoolState | undefined {
  if (bytes === undefined) return { lastPlace: 0, totals: noTotals() };
  try {
    const parsed = stateShape.safeParse(JSON.parse(bytes.toString("utf8"))).data;
    if (parsed === undefined) return undefined;
    const { lastPlace, ...totals } = parsed;
    return { lastPlace, totals };
  } catch {
    // Failure becomes the answer: not JSON, so not what was written.
    return undefined;
  }
}
