// An MCP in a process of its own with a bound on the size of its files: reports until the disk under its spool refuses, says so, and goes on reporting. Ends when all is resolved.

import { createReporter } from "../../src/client/index.js";

const [coordinatorUrl = "", grpcTarget = "", localCachePath = ""] = process.argv.slice(2);
const troubles: string[] = [];
const unhandled: string[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(String(reason)));
const onTrouble = ({ message }: { readonly message: string }) => troubles.push(message);
const reporter = createReporter({ coordinatorUrl, grpcTarget, localCachePath, mcpId: "full-disk", retryDelay: 0.1, onTrouble });
const ids: string[] = [];
const hasRefused = () => troubles.some((message) => message.startsWith("the disk under the spool refuses"));

async function report(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const id = `i-${ids.length}`;
    if (reporter.reportStart(id, { parameters: { text: "x".repeat(1_000) } })) ids.push(id);
  }
  await reporter.durable();
}

while (!hasRefused() && ids.length < 100_000) await report(100);
const before = ids.length;
await report(200); // the disk is still full: nothing is refused, memory has room
const { kind, events } = reporter.state.spool;
process.stdout.write(`${JSON.stringify({ hasRefused: hasRefused(), reported: ids.length, late: ids.length - before, kind, events })}\n`);
const isEmpty = await reporter.flush(120_000);
await reporter.close();
process.stdout.write(`${JSON.stringify({ isEmpty, counters: reporter.state.counters, unhandled })}\n`);
