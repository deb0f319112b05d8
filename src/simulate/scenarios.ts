import type { Scenario } from "./scenario.js";
import { antagonists } from "./scenarios/antagonists.js";
import { slowServer } from "./scenarios/slow-server.js";

/** Every scenario, in the order of its number. */
export const scenarios: readonly Scenario[] = [slowServer, antagonists];
