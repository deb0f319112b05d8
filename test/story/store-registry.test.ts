import postgres from "postgres";
import { describe, expect } from "vitest";
import { limits } from "../../src/platform/limits.js";
import { type RegisterOptions, unsaidProfile } from "../../src/store/registry-rows.js";
import { plainMcpConfig } from "../support/mcp-config.js";
import { storeKinds } from "../support/open-store.js";
import { tellStories } from "../support/store-stories.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

describe.each(storeKinds)("the registry of the $kind store", (each) => {
  const at = tellStories(each);
  /** A Hello of "guest" that came `agoMs` ago, when the registry was known up to `seenRevision`. */
  const greet = (seenRevision: number, agoMs: number) =>
    at.store.registerGreeted([{ mcpId: "guest", version: "", seenRevision, agoMs: () => agoMs }], {
      coordinatorId: "coordinator-of-test",
      config: plainMcpConfig,
      maxCount: 10,
    });
  const standing = async () => {
    const changes = await at.store.readMcpChanges(-1);
    const guest = changes?.mcps.find(({ mcpId }) => mcpId === "guest");
    return { state: guest?.lease.state, revision: guest?.revision ?? 0 };
  };

  at.story(
    "takes a Hello for older than an end of the registration that was not known then, unless that end is older by its age",
    async () => {
      await greet(0, 0);
      const known = await standing();
      expect(known.state).toBe("alive");
      await at.store.deregisterMcp("guest", "end of shift");
      const ended = await standing();
      expect(ended).toEqual({ state: "deregistered", revision: known.revision + 1 });
      // An hour ago: before the end.
      await greet(known.revision, 3_600_000);
      expect(await standing()).toEqual(ended);
      // This moment, on a coordinator that has not heard of the end: after it.
      await greet(known.revision, 0);
      expect((await standing()).state).toBe("alive");
      // Where the end was known, the age does not matter.
      await at.store.deregisterMcp("guest", "end of shift");
      await greet((await standing()).revision, 3_600_000);
      expect((await standing()).state).toBe("alive");
    },
  );
});

describe.each(storeKinds.filter(({ kind }) => kind === "postgres"))("the registry of several coordinators on one $kind", (each) => {
  const at = tellStories(each);
  const register = (name: string, more: Partial<RegisterOptions>) =>
    at.store.registerMcp(
      { name, version: "1.0.0", instance: "", profile: unsaidProfile },
      { coordinatorId: "c", config: plainMcpConfig, onlyMcpId: undefined, key: undefined, renewKey: false, maxCount: 10, ...more },
    );
  /** Runs `work` with a connection of its own. */
  const beside = async (work: (sql: postgres.Sql) => Promise<void>): Promise<void> => {
    const sql = postgres(at.home.postgres?.url ?? "", { max: 2, onnotice: () => {} });
    try {
      await work(sql);
    } finally {
      await sql.end();
    }
  };

  at.story("finds the next free number behind thousands that Hellos have taken, in one question", async () => {
    const databaseUrl = (await at.home.postgres?.createDatabase("crowded")) ?? "";
    const store = await at.home.open({ databaseUrl, watchdogMs: 1_500 });
    const sql = postgres(databaseUrl, { max: 1 });
    await sql`INSERT INTO mcp (mcp_id, name, version, instance, source, profile, config, config_version, health, revision)
      SELECT 'ocr_' || lpad(n::text, greatest(3, length(n::text)), '0'), 'ocr', '', '', 2, '{}', '{}', 1, 1, 0 FROM generate_series(1, 12000) AS n`;
    await sql`DELETE FROM mcp WHERE mcp_id IN ('ocr_007', 'ocr_10007')`;
    await sql.end();
    const ask = (instance: string) =>
      store.registerMcp(
        { name: "ocr", version: "1.0.0", instance, profile: unsaidProfile },
        { coordinatorId: "c", config: plainMcpConfig, onlyMcpId: undefined, key: undefined, renewKey: false, maxCount: 10 },
      );
    for (const mcpId of ["ocr_007", "ocr_10007", "ocr_12001"])
      expect(await ask(mcpId)).toMatchObject({ kind: "registered", mcp: { mcpId } });
    await store.close();
  });

  at.story("registers a fleet that greets at once over a slow network, in a few round trips, and again after a restart", async () => {
    await using proxy = await startTcpProxy(at.home.postgres?.port ?? 0);
    const databaseUrl = (await at.home.postgres?.createDatabase("faraway"))?.replace(/:\d+\//, `:${proxy.port}/`);
    const store = await at.home.open(databaseUrl === undefined ? {} : { databaseUrl });
    const fleet = Array.from({ length: limits.leaseBatchMax }, (_, i) => `far-${String(i).padStart(3, "0")}`);
    const greet = (version: string, seenRevision: number) =>
      store.registerGreeted(
        fleet.map((mcpId) => ({ mcpId, version, seenRevision, agoMs: () => 0 })),
        { coordinatorId: "c", config: plainMcpConfig, maxCount: fleet.length - 1 },
      );
    proxy.shape("down", { latencyMs: 30 });
    await greet("1.0.0", 0);
    const made = (await store.readMcpChanges(-1))?.mcps ?? [];
    expect(made.map(({ mcpId }) => mcpId).sort(), "all that there may be").toEqual(fleet.slice(0, -1));
    expect(new Set(made.map(({ revision }) => revision)).size, "each has a revision of its own").toBe(made.length);
    await store.deregisterMcp("far-000", "end of shift");
    await store.changeLeases(
      [{ mcpId: "far-001", next: (lease) => ({ ...lease, state: "dead" }), isBeat: false, expectedBeat: undefined, reason: "silence" }],
      "c",
    );
    await greet("1.0.1", (await store.readMcpChanges(-1))?.revision ?? 0);
    const again = new Map((await store.readMcpChanges(-1))?.mcps.map((mcp) => [mcp.mcpId, mcp]));
    for (const mcpId of ["far-000", "far-001", "far-002"]) {
      expect(again.get(mcpId)).toMatchObject({ version: "1.0.1", lease: { state: "alive" } });
    }
    const [latest] = (await store.readMcpStanding("far-001", 1, 1))?.history ?? [];
    expect(latest).toMatchObject({ kind: "alive", detail: "by Hello, was dead" });
    await store.close();
  });

  at.story("a lease that ends while its registration changes holds up neither", async () => {
    const registered = await register("busy", {});
    expect(registered).toMatchObject({ kind: "registered", mcp: { mcpId: "busy_001" } });
    await beside(async (sql) => {
      let changes: Promise<unknown> = Promise.resolve();
      await sql.begin(async (holder) => {
        // Both come as far as they can, and wait for each other, or one for the other, when the head is free.
        await holder`SELECT FROM registry_head FOR UPDATE`;
        const waiting = async (count: number) =>
          expect
            .poll(() => sql`SELECT FROM pg_stat_activity WHERE application_name = 'mcp-coordinator' AND wait_event_type = 'Lock'`)
            .toHaveLength(count);
        const lost = at.store.changeLeases(
          [
            {
              mcpId: "busy_001",
              next: (lease) => ({ ...lease, state: "suspect" }),
              isBeat: false,
              expectedBeat: undefined,
              reason: "silence",
            },
          ],
          "c",
        );
        await waiting(1);
        const healthy = at.store.setMcpHealth("busy_001", "healthy", "a check passed");
        changes = Promise.all([lost, healthy]);
        changes.catch(() => {}); // looked at below, when the head is free
        await waiting(2);
      });
      await changes;
    });
    const mcps = (await at.store.readMcpChanges(-1))?.mcps ?? [];
    expect(mcps.find(({ mcpId }) => mcpId === "busy_001")).toMatchObject({ health: "healthy", lease: { state: "suspect" } });
  });

  at.story("a registration that was refused leaves no counter behind", async () => {
    expect(await register("stranger", { onlyMcpId: "me_001" })).toMatchObject({ kind: "foreign", mcpId: "stranger_001" });
    expect(await register("crowd", { maxCount: 0 })).toEqual({ kind: "full" });
    await register("guest", {});
    expect(await register("guest", { onlyMcpId: "me_001" })).toMatchObject({ kind: "foreign", mcpId: "guest_001" });
    await beside(async (sql) => {
      const counters = await sql<
        { name: string; last: string }[]
      >`SELECT name, last FROM mcp_counter WHERE name IN ('stranger', 'crowd', 'guest')`;
      expect([...counters]).toEqual([{ name: "guest", last: "1" }]);
    });
    expect(await register("stranger", {})).toMatchObject({ kind: "registered", mcp: { mcpId: "stranger_001" } });
  });
});
