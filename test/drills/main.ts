import { runIdle } from "./idle.js";
import { runReporting } from "./reporting/run.js";
import { runRolling } from "./rolling.js";
import { runStorm } from "./storm.js";

const drills: Readonly<Record<string, () => Promise<void>>> = {
  rolling: runRolling,
  idle: runIdle,
  storm: runStorm,
  reporting: runReporting,
};
const name = process.argv[2] ?? "";
const drill = drills[name];
if (drill === undefined) {
  process.stderr.write(`which drill? ${Object.keys(drills).join(", ")}\n`);
  process.exit(2);
}
await drill();
// Connections of clients that a drill has given up keep nothing of value.
process.exit();
