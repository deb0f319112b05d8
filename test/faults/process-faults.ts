import { claim } from "./audit.js";
import { between, type Disturbance, oneOf } from "./fault.js";
import { residentBytes, sleep } from "./site.js";

const mib = 1024 * 1024;

/** Faults of the processes: coordinators that die or stand still, and a Postgres that does. */
export const processFaults: readonly Disturbance[] = [
  {
    kind: "disturbance",
    id: "F1",
    title: "kill -9 of a coordinator at a random phase",
    strike: async ({ site, rng }) => {
      const seat = oneOf(rng, site.seats);
      const phase = oneOf(rng, ["any", "sent", "committed"] as const);
      // At a chosen phase the append is cut at the same moment: before anyone can know its outcome, or after its commit.
      if (phase === "any") await sleep(between(rng, 10, 400));
      else await Promise.race([site.link.cutNextAppend(phase), sleep(1_000)]);
      const startMs = performance.now();
      await seat.killAndRestart();
      const figures = { restartMs: Math.round(performance.now() - startMs) };
      return {
        what: `${seat.name} killed, ${phase === "any" ? "at any moment" : `append ${phase}`}, and listening again after ${figures.restartMs} ms`,
        injected: 1,
        figures,
      };
    },
  },
  {
    kind: "disturbance",
    id: "F3",
    title: "a coordinator stands still and comes back as a zombie (SIGSTOP, SIGCONT)",
    strike: async ({ site, rng, scale }) => {
      const seat = oneOf(rng, site.seats);
      const others = site.seats.filter((other) => other !== seat && other.isInService);
      const ms = between(rng, 1_000, 6_000) * scale;
      seat.signal("SIGSTOP");
      // As a load balancer does once its probe fails: no new connections, and those that are open are reset. Clients move while the zombie holds its batch.
      const moves = others.length > 0 && rng() < 0.7;
      if (moves) {
        seat.isInService = false;
        await sleep(between(rng, 0, 500));
        site.front.cut("reset");
      }
      await sleep(ms);
      seat.signal("SIGCONT");
      await sleep(500);
      seat.isInService = true;
      return { what: `${seat.name} stopped for ${(ms / 1_000).toFixed(1)} s${moves ? ", its clients moved to another" : ""}`, injected: 1 };
    },
  },
  {
    kind: "disturbance",
    id: "F4",
    title: "Postgres restarts without a checkpoint (as pg_ctl restart -m immediate)",
    strike: async ({ site, load, rng }) => {
      await sleep(between(rng, 10, 400));
      await site.server.stopImmediate();
      await sleep(between(rng, 0, 800));
      await site.server.start();
      const upMs = performance.now();
      const before = load.ledger.ackedTotal;
      while (load.ledger.ackedTotal === before && performance.now() - upMs < 30_000) await sleep(5);
      const figures = { firstAckAfterUpMs: Math.round(performance.now() - upMs) };
      return { what: `crashed and recovered; first ack ${figures.firstAckAfterUpMs} ms after it was up`, injected: 1, figures };
    },
  },
  {
    kind: "disturbance",
    id: "F5",
    title: "Postgres is down for long under load",
    strike: async ({ site, load, rng, scale }) => {
      const rss = (): number => site.seats.reduce((sum, seat) => sum + residentBytes(seat.pid), 0);
      const ms = between(rng, 4_000, 8_000) * scale;
      const before = rss();
      const restarts = site.seats.map((seat) => seat.pid).join();
      let peak = before;
      await site.server.stop();
      for (const untilMs = performance.now() + ms; performance.now() < untilMs; await sleep(200)) peak = Math.max(peak, rss());
      const backlog = load.unresolvedCount;
      await site.server.start();
      const upMs = performance.now();
      const acked = load.ledger.ackedTotal;
      while (load.ledger.ackedTotal < acked + backlog && performance.now() - upMs < 60_000) await sleep(20);
      const drainMs = performance.now() - upMs;
      const grownMib = Math.round((peak - before) / mib);
      const isSame = site.seats.map((seat) => seat.pid).join() === restarts;
      // 64 MiB for each coordinator: what limits.pendingMaxBytes is there for.
      const wrong = grownMib > 64 * site.seats.length || !isSame ? `memory grew by ${grownMib} MiB while the store was down` : undefined;
      const figures = {
        downMs: ms,
        grownMib,
        backlog,
        drainMs: Math.round(drainMs),
        drainedPerSecond: Math.round((backlog / drainMs) * 1_000),
      };
      const what = `down for ${(ms / 1_000).toFixed(1)} s; memory +${grownMib} MiB; backlog of ${backlog} acknowledged in ${figures.drainMs} ms`;
      return { what, injected: 1, figures, audit: claim("I7", wrong) };
    },
  },
  {
    kind: "disturbance",
    id: "F23",
    title: "the event loop of a coordinator stands still",
    strike: async ({ site, rng }) => {
      const seat = oneOf(rng, site.seats);
      const ms = between(rng, 500, 3_000);
      await seat.stall(ms);
      return { what: `${seat.name} stalled for ${ms} ms`, injected: 1 };
    },
  },
  {
    kind: "disturbance",
    id: "F19j",
    title: "the wall clock of a coordinator jumps during the run",
    strike: async ({ site, rng }) => {
      const seat = oneOf(rng, site.seats);
      // Forward by up to an hour, or back by less than the skew that is forgiven: no event may be refused for it.
      const ms = rng() < 0.5 ? between(rng, 60_000, 3_600_000) : -between(rng, 1_000, 540_000);
      await seat.setClockAheadMs(ms);
      await sleep(between(rng, 1_000, 3_000));
      await seat.setClockAheadMs(0);
      return { what: `${seat.name} jumped by ${Math.round(ms / 1_000)} s and back`, injected: 2 };
    },
  },
];
