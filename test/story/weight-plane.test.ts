import { describe, expect, it } from "vitest";
import { findPostgres, startPostgres } from "../support/postgres.js";
import { runDeadStreams } from "../weights/dead-streams.js";
import { runWeightPlane } from "../weights/plane-run.js";

const story = it.runIf(findPostgres().kind === "found");

describe("the weight plane over gRPC", () => {
  story(
    "brings every table to 200 streams, past a slow one and one that rejects, through kill -9, and applies none that nobody published",
    { timeout: 900_000 },
    async ({ annotate }) => {
      await using postgres = await startPostgres();
      const run = await runWeightPlane(postgres.url, 200, 8);
      await annotate(
        `${run.applications} applications, published to applied p50 ${run.p50Ms} ms, p99 ${run.p99Ms} ms, ${JSON.stringify(run)}`,
      );
      expect(run.applications).toBeGreaterThanOrEqual(198 * 8);
      expect(run.wrongApplications).toBe(0);
      expect(run.rejectedTables).toBeGreaterThan(0);
      expect(run.resentDigests).toBe(0);
      expect(run.withheld).toBeGreaterThan(0);
      expect(run.deltaShare).toBeGreaterThan(0.5);
    },
  );

  it("takes the weight of an MCP that stops, and of one whose connection is reset", async ({ annotate }) => {
    const { silentMs, resetMs } = await runDeadStreams(1);
    await annotate(`no weight ${silentMs[0]?.toFixed(0)} ms after SIGSTOP, ${resetMs[0]?.toFixed(0)} ms after a reset`);
    expect(silentMs).toHaveLength(1);
    expect(resetMs).toHaveLength(1);
  });
});
