import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Settled } from "../../src/client/options.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { makeEvent } from "../support/make-event.js";
import { type Audit, addAudits, claim, emptyAudit } from "./audit.js";
import type { Drill } from "./fault.js";
import { statusName } from "./ledger.js";
import { Load } from "./load.js";
import { boundMemory, fill, mountSmallDisk, smallDiskMib } from "./machine-limits.js";
import { openNetwork } from "./network-namespace.js";
import { plannedId } from "./plan.js";
import { keepsCommitTimes } from "./read-store.js";
import { openSite, residentBytes, sleep } from "./site.js";

const mib = 1024 * 1024;
const memoryMib = 256;

/** Faults that need something of the machine: a small disk, a network of its own, a bound on memory, two processes with one name. */
export const machineDrills: readonly Drill[] = [
  {
    kind: "drill",
    id: "F10",
    title: "the disk of the database is full",
    run: async ({ site: host, seed }) => {
      const disk = mountSmallDisk();
      if (disk === undefined)
        return { what: "", injected: 0, skipped: "mounting a small tmpfs needs root; the read-only half of this fault (F10r) ran without" };
      const name = `full_${seed}`;
      try {
        await host.admin.unsafe(`CREATE TABLESPACE "${name}" LOCATION '${disk.dir}'`);
        await host.admin.unsafe(`CREATE DATABASE "${name}" TABLESPACE "${name}"`);
        const databaseUrl = host.server.url.replace(/postgres$/, name);
        let found: Audit;
        let acked = 0;
        let silentMs = 0;
        {
          await using site = await openSite({ seats: 1, server: host.server, databaseUrl });
          await using load = new Load({ target: site.target, sessions: 8, perSecond: 800, seed, name: "full", admin: site.admin });
          load.start();
          await sleep(2_000);
          const filler = join(disk.dir, "filler");
          fill(filler);
          let quietSinceMs = performance.now();
          for (
            let last = load.ledger.ackedTotal, untilMs = performance.now() + 20_000;
            performance.now() < untilMs && performance.now() - quietSinceMs < 3_000;
            await sleep(50)
          ) {
            if (load.ledger.ackedTotal !== last) quietSinceMs = performance.now();
            last = load.ledger.ackedTotal;
          }
          silentMs = performance.now() - quietSinceMs;
          rmSync(filler);
          const isSettled = await load.settle(60_000);
          found = await load.auditRound(site.admin, await keepsCommitTimes(site.admin), isSettled);
          acked = load.ledger.ackedTotal;
        }
        found = addAudits(found, claim("I8", silentMs >= 3_000 ? undefined : "the disk was full and acks went on"));
        return {
          what: `a disk of ${smallDiskMib} MiB was full; no acks for ${Math.round(silentMs)} ms, then recovered by itself`,
          injected: 1,
          acked,
          audit: found,
        };
      } finally {
        await host.admin.unsafe(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
        await host.admin.unsafe(`DROP TABLESPACE IF EXISTS "${name}"`);
        disk.unmount();
      }
    },
  },
  {
    kind: "drill",
    id: "F12n",
    title: "partition in a network namespace: packets vanish, one way and the other, longer than a heartbeat notices",
    run: async ({ site: host, seed, scale }) => {
      const network = await openNetwork(seed);
      if (network === undefined)
        return {
          what: "",
          injected: 0,
          skipped: "making a network namespace needs root and ip(8); the same fault ran through a proxy as F12",
        };
      try {
        const config = `[server]\nhost = "${network.hostAddress}"\nallow_insecure_bind = true\n`;
        const name = `netns_${seed}`;
        const databaseUrl = await host.server.createDatabase(name);
        await using site = await openSite({ seats: 1, server: host.server, databaseUrl, config });
        await network.relayTo(site.seats[0]?.port ?? 0);
        await using load = new Load({
          target: `unix:${network.socketPath}`,
          sessions: 6,
          perSecond: 300,
          seed,
          name: "netns",
          admin: site.admin,
        });
        const parts: string[] = [];
        const figures: Record<string, number> = {};
        let injected = 0;
        let bitten: Audit = emptyAudit;
        load.start();
        for (const [way, ms] of [
          ["up", 3_000],
          ["down", 3_000],
          ["both", 2_000],
          ["down", 20_000 * scale],
        ] as const) {
          await sleep(1_000);
          const healed = network.drop(way);
          // What was on its way may still arrive; then silence.
          await sleep(500);
          const silentFrom = load.ledger.ackedTotal;
          await sleep(ms - 500);
          const acks = load.ledger.ackedTotal - silentFrom;
          bitten = addAudits(bitten, claim("I8", acks === 0 ? undefined : `the partition ${way} let ${acks} acks through`));
          healed();
          const before = load.ledger.ackedTotal;
          const healedMs = performance.now();
          while (load.ledger.ackedTotal <= before && performance.now() - healedMs < 90_000) await sleep(20);
          figures[`${way}${ms}FirstAckMs`] = Math.round(performance.now() - healedMs);
          parts.push(`${way} ${ms / 1_000} s (first ack after ${((performance.now() - healedMs) / 1_000).toFixed(1)} s)`);
          injected += 1;
        }
        const isSettled = await load.settle(90_000);
        const found = await load.auditRound(site.admin, await keepsCommitTimes(site.admin), isSettled);
        return {
          what: `packets dropped ${parts.join(", ")}; ${load.reconnects} reconnects`,
          injected,
          acked: load.ledger.ackedTotal,
          figures,
          audit: found,
        };
      } finally {
        network.close();
      }
    },
  },
  {
    kind: "drill",
    id: "F21",
    title: "two processes with one producer_id, on one coordinator and on two",
    run: async ({ site, rng, seed }) => {
      const verdicts = new Map<string, number>();
      let found: Audit = claim("I6", undefined, 0);
      let injected = 0;
      for (const isSame of [true, false]) {
        const [first, second] = isSame ? [site.seats[0], site.seats[0]] : [site.seats[0], site.seats.at(-1)];
        const producerId = `clone-${seed.toString(36)}-${injected}`;
        const mcpId = `clones-${seed.toString(36)}`;
        const note = ({ verdict, ack }: Settled): void => {
          const name = ack === undefined ? verdict.toUpperCase() : statusName(ack.status);
          verdicts.set(name, (verdicts.get(name) ?? 0) + 1);
        };
        const open = (port = 0) =>
          createStreamSession({
            endpoint: { target: `127.0.0.1:${port}`, key: undefined },
            mcpId,
            producerId,
            onSettled: note,
            closeMaxMs: 1_000,
          });
        const older = open(first?.port);
        const isOut = () => older.state.kind === "disconnected" && older.state.isFenced;
        const reporting = setInterval(() => {
          for (let count = 0; count < 20; count += 1) {
            if (!isOut()) older.report(makeEvent({ mcpId, interactionId: `older-${injected}`, eventId: plannedId(rng, Date.now()) }));
          }
        }, 5);
        await sleep(700);
        const newer = open(second?.port);
        const newerMs = await untilActive(newer);
        await sleep(300);
        // The clone finds out at its next commit at the latest. From then on it must keep away for long, not come back and fence the other.
        for (const untilMs = performance.now() + 15_000; !isOut() && performance.now() < untilMs; ) await sleep(20);
        clearInterval(reporting);
        await sleep(2_000);
        const why = isOut() ? "fenced" : older.state.kind;
        if (isOut()) verdicts.set("FENCED", (verdicts.get("FENCED") ?? 0) + 1);
        newer.report(makeEvent({ mcpId, interactionId: `newer-${injected}`, eventId: plannedId(rng, Date.now()) }));
        const isFlushed = await newer.flush();
        const [row] = await site.admin<{ late: number; epoch: number }[]>`
          SELECT (SELECT count(*)::int FROM interaction_event WHERE mcp_id = ${mcpId} AND interaction_id = ${`older-${injected}`}
            AND pg_xact_commit_timestamp(xmin) > to_timestamp(${newerMs / 1_000}::float8)) AS late,
            (SELECT epoch::int FROM producer WHERE producer_id = ${producerId}) AS epoch`;
        const where = isSame ? "on one coordinator" : "on two coordinators";
        found = addAudits(
          found,
          claim(
            "I6",
            row?.late === 0 ? undefined : `${row?.late} events of the fenced clone were committed after the newer Welcome, ${where}`,
          ),
        );
        found = addAudits(
          found,
          claim(
            "I8",
            why === "fenced" && isFlushed
              ? undefined
              : `the older clone is ${why}, the newer ${isFlushed ? "works" : "is stuck"}, ${where}`,
          ),
        );
        found = addAudits(
          found,
          claim("I6", row?.epoch === 2 ? undefined : `the producer has epoch ${row?.epoch} after two Hellos, ${where}`),
        );
        await Promise.all([older.close(), newer.close()]);
        injected += 1;
      }
      return { what: "the older one was fenced and keeps away, the newer one went on", injected, audit: found, verdicts };
    },
  },
  {
    kind: "drill",
    id: "F22",
    title: "little memory, many streams, and the store down",
    run: async ({ site: host, seed, scale, streams: sessions }) => {
      const databaseUrl = await host.server.createDatabase(`memory_${seed}`);
      await using site = await openSite({ seats: 1, server: host.server, databaseUrl, nodeOptions: "--max-old-space-size=128" });
      const seat = site.seats[0];
      if (seat === undefined) throw new Error("a site has a coordinator at least");
      const group = boundMemory(seat.pid, memoryMib);
      try {
        await using load = new Load({ target: site.target, sessions, perSecond: 6_000, seed, name: "memory", admin: site.admin });
        load.start();
        await sleep(3_000);
        const before = residentBytes(seat.pid);
        const { pid } = seat;
        site.link.set("hold");
        let peak = before;
        for (const untilMs = performance.now() + 20_000 * scale; performance.now() < untilMs; await sleep(100))
          peak = Math.max(peak, residentBytesOf(pid) ?? 0);
        site.link.reset();
        site.link.set("pass");
        const isSettled = await load.settle(90_000);
        // The store's return costs memory too: everything that waited moves at once.
        const isAlive = residentBytesOf(pid) !== undefined;
        let found = await load.auditRound(site.admin, await keepsCommitTimes(site.admin), isSettled);
        found = addAudits(found, claim("I7", isAlive ? undefined : "the coordinator was killed for its memory"));
        const figures = { sessions, beforeMib: Math.round(before / mib), peakMib: Math.round(peak / mib) };
        const bound = group === undefined ? "heap of 128 MiB (no cgroup: that needs root)" : `cgroup of ${memoryMib} MiB, heap of 128 MiB`;
        const what = `${bound}: ${sessions} streams against a store that does not answer; RSS ${figures.beforeMib} → ${figures.peakMib} MiB`;
        return { what, injected: 1, acked: load.ledger.ackedTotal, figures, audit: found };
      } finally {
        await site.seats[0]?.killAndRestart();
        group?.remove();
      }
    },
  },
];

/** Wall time at which a session got its Welcome. */
async function untilActive(session: { readonly state: { readonly kind: string } }): Promise<number> {
  for (const untilMs = performance.now() + 20_000; session.state.kind !== "active" && performance.now() < untilMs; ) await sleep(1);
  return Date.now();
}

/** RSS of a process; undefined when there is none. */
function residentBytesOf(pid: number): number | undefined {
  try {
    return residentBytes(pid);
  } catch {
    // The process is gone: the caller's state says so.
    return undefined;
  }
}
