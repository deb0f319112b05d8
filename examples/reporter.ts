/**
 * An MCP that reports what it does. With a coordinator: `npx mcp-coordinator demo`, then `npx tsx examples/reporter.ts`. Without one it works the same, and the reports wait in
 * ./interaction_cache.db for the next run. In a project of your own import from "mcp-coordinator/client".
 */
import { createReporter } from "../src/client/index.js";

await using reporter = createReporter({ coordinatorUrl: "http://localhost:8080", mcpId: "example_mcp" });

for (const text of ["to be", "or not", ""]) {
  try {
    const shouted = await reporter.withInteraction({ requestType: "shout", inputSize: text.length }, async (interaction) => {
      if (text === "") throw new RangeError("nothing to shout");
      interaction.describeResult({ qualityScore: 1, outputSize: text.length });
      return `${text.toUpperCase()}!`;
    });
    process.stdout.write(`${shouted}\n`);
  } catch (thrown) {
    process.stdout.write(`${String(thrown)}\n`);
  }
}

await reporter.flush(2_000);
const { transport, counters, spool } = reporter.state;
process.stdout.write(`${JSON.stringify({ transport, counters, waiting: spool.events })}\n`);
