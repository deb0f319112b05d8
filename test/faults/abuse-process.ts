// One bad peer in a process of its own: abuse-process.ts <name> <port> <ms>. Writes what it did as one line of JSON.
import { abuses } from "./abuses.js";

const [name = "", port = "", ms = ""] = process.argv.slice(2);
const found = Object.entries(abuses).find(([known]) => known === name);
if (found === undefined) throw new Error(`there is no abuse "${name}"`);
const abused = await found[1](Number(port), performance.now() + Number(ms));
process.stdout.write(`${JSON.stringify(abused)}\n`, () => process.exit(0));
