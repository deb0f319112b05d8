import { appendFileSync } from "node:fs";
import { createReporter } from "../../src/client/index.js";

/**
 * An MCP in a process of its own, to be killed: `node --import tsx reporting-mcp.ts <coordinatorUrl> <grpcTarget> <spool> <notes> <count>`.
 * Notes each interaction in a file once it is durable. With a count of 0 it reports nothing, brings over what an earlier one has left, and ends with 0 when nothing is left.
 */
const [coordinatorUrl = "", grpcTarget = "", localCachePath = "", notes = "", count = "0"] = process.argv.slice(2);
const reporter = createReporter({ coordinatorUrl, grpcTarget, localCachePath, mcpId: "ocr", retryDelay: 0.1 });
const startedAt = `${process.pid}-${Date.now()}`;
for (let index = 0; index < Number(count); index += 10) {
  const ids = Array.from({ length: 10 }, (_, offset) => `${startedAt}-${index + offset}`);
  for (const id of ids) {
    reporter.reportStart(id, { requestType: "ocr" });
    reporter.reportComplete(id, { processingTimeMs: 5 });
  }
  await reporter.durable();
  appendFileSync(notes, `${ids.join("\n")}\n`);
  await new Promise((resolve) => setTimeout(resolve, 5));
}
const isEmpty = await reporter.flush(300_000);
await reporter.close();
process.exit(isEmpty ? 0 : 1);
