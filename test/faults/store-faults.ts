import { claim } from "./audit.js";
import { between, type Disturbance, oneOf } from "./fault.js";
import { sleep } from "./site.js";

/** Faults between the coordinators and Postgres, and in what Postgres answers. */
export const storeFaults: readonly Disturbance[] = [
  {
    kind: "disturbance",
    id: "F6",
    title: "the database connection is half-open: nothing comes, nothing closes",
    strike: async ({ site, load, rng, scale }) => {
      const ms = between(rng, 2_000, 13_000) * scale;
      site.link.set("hold");
      await sleep(ms);
      // The network is back for new connections; the old ones are forgotten by everything between.
      site.link.reset();
      site.link.set("pass");
      const upMs = performance.now();
      const before = load.ledger.ackedTotal;
      while (load.ledger.ackedTotal === before && performance.now() - upMs < 30_000) await sleep(5);
      const figures = { heldMs: ms, firstAckAfterMs: Math.round(performance.now() - upMs) };
      return { what: `half-open for ${(ms / 1_000).toFixed(1)} s; first ack ${figures.firstAckAfterMs} ms after`, injected: 1, figures };
    },
  },
  {
    kind: "disturbance",
    id: "F7",
    title: "the connection is cut after COMMIT was sent and before its reply",
    strike: async ({ site, rng }) => {
      const cuts = between(rng, 3, 10);
      const before = site.link.counts.cut;
      const at = { sent: 0, committed: 0 };
      for (let cut = 0; cut < cuts; cut += 1) {
        const phase = rng() < 0.7 ? "committed" : "sent";
        at[phase] += 1;
        await Promise.race([site.link.cutNextAppend(phase), sleep(30_000)]);
        await sleep(between(rng, 50, 400));
      }
      const done = site.link.counts.cut - before;
      const what = `${at.committed} appends cut after their commit, ${at.sent} with an unknown outcome`;
      return { what, injected: done, audit: claim("I1", done >= cuts ? undefined : `only ${done} of ${cuts} cuts found an append`) };
    },
  },
  {
    kind: "disturbance",
    id: "F9",
    title: "slow Postgres: late answers, and a lock held on rows that are written",
    strike: async ({ site, rng, load }) => {
      const delayMs = between(rng, 200, 700);
      site.link.delayAnswers(delayMs);
      await sleep(between(rng, 1_500, 3_000));
      site.link.delayAnswers(0);
      const before = load.ledger.ackedTotal;
      const heldMs = between(rng, 1_000, 5_000);
      await site.admin.begin(async (transaction) => {
        // The newest rows of a few MCPs: later events of the same interactions wait for it, beyond lock_timeout.
        await transaction`SELECT 1 FROM interaction WHERE mcp_id IN ${transaction([...load.mcpIds.slice(0, 3)])} ORDER BY last_event_slot DESC LIMIT 500 FOR UPDATE`;
        await transaction`SELECT 1 FROM producer WHERE mcp_id = ${load.mcpIds[0] ?? ""} FOR UPDATE`;
        await sleep(heldMs);
      });
      const acked = load.ledger.ackedTotal - before;
      const figures = { delayMs, heldMs, ackedWhileLocked: acked };
      return {
        what: `answers ${delayMs} ms late; rows of three MCPs locked for ${heldMs} ms, ${acked} acks meanwhile`,
        injected: 2,
        figures,
      };
    },
  },
  {
    kind: "disturbance",
    id: "F10r",
    title: "the database turns read-only, as after a failover or with a full disk",
    strike: async ({ site, rng }) => {
      const [row] = await site.admin<{ name: string }[]>`SELECT current_database() AS name`;
      const name = row?.name ?? "postgres";
      await site.admin.unsafe(`ALTER DATABASE "${name}" SET default_transaction_read_only = on`);
      await endBackends(site.admin);
      await sleep(between(rng, 1_000, 4_000));
      const repair = site.admin.reserve();
      const sql = await repair;
      try {
        await sql.unsafe("SET default_transaction_read_only = off");
        await sql.unsafe(`ALTER DATABASE "${name}" SET default_transaction_read_only = off`);
      } finally {
        sql.release();
      }
      return { what: "read-only, and back", injected: 1 };
    },
  },
  {
    kind: "disturbance",
    id: "F11",
    title: "statements are cancelled, backends are ended, transactions deadlock",
    strike: async ({ site, rng, load }) => {
      let injected = 0;
      for (let shot = between(rng, 5, 15); shot > 0; shot -= 1) {
        const how = oneOf(rng, ["cancel", "end", "deadlock"] as const);
        if (how === "cancel") injected += await cancelAppends(site.admin);
        else if (how === "end") injected += await endBackends(site.admin);
        else injected += await lockBackwards(site.admin, load.mcpIds);
        await sleep(between(rng, 30, 300));
      }
      return { what: `${injected} statements, backends and lock orders upset`, injected };
    },
  },
];

const ours = "mcp-coordinator%";

async function endBackends(sql: Disturbed): Promise<number> {
  const rows = await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE ${ours}`;
  return rows.length;
}

async function cancelAppends(sql: Disturbed): Promise<number> {
  const rows = await sql`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE ${ours} AND state = 'active'`;
  return rows.length;
}

/** Locks producers in descending order, one by one: an append locks them ascending, so one of the two is the victim of the deadlock detector. */
async function lockBackwards(sql: Disturbed, mcpIds: readonly string[]): Promise<number> {
  try {
    await sql.begin(async (transaction) => {
      await transaction`SET LOCAL deadlock_timeout = '100ms'`;
      await transaction`SET LOCAL lock_timeout = '3s'`;
      for (const mcpId of [...mcpIds].sort().reverse()) await transaction`SELECT 1 FROM producer WHERE mcp_id = ${mcpId} FOR UPDATE`;
    });
  } catch {
    // The loop's edge: being the victim is one of the two outcomes that are wanted.
  }
  return 1;
}

type Disturbed = import("postgres").Sql;
