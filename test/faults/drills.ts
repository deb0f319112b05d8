import { edgeDrills } from "./edge-drills.js";
import { eventDrills } from "./event-drills.js";
import type { Drill } from "./fault.js";
import { machineDrills } from "./machine-drills.js";
import { peerDrills } from "./peer-drills.js";
import { timeDrills } from "./time-drills.js";
import { versionDrills } from "./version-drills.js";

/** Faults with a scene of their own, in the order of a whole run. */
export const drills: readonly Drill[] = [...eventDrills, ...timeDrills, ...versionDrills, ...machineDrills, ...edgeDrills, ...peerDrills];
