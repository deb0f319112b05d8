import type { Drill } from "./fault.js";

/** Faults with a scene of their own, in the order of a whole run. */
export const drills: readonly Drill[] = [];
