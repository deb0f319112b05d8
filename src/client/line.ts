import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";
import { guardCallbacks } from "./guarded-callbacks.js";
import { Pump, type Resolved } from "./pump.js";
import type { ReporterSettings } from "./reporter-options.js";
import type { ReporterCounters, ReporterState } from "./reporter-state.js";
import { Shelf } from "./shelf.js";
import type { HolderWatch } from "./spool/holder.js";
import type { Spool, SpoolKind } from "./spool/spool.js";
import { outsOf } from "./transports/outs.js";
import type { Troubles } from "./troubles.js";
import { Waiters } from "./waiters.js";
import { type WayOut, Ways } from "./ways.js";

export type LineDeps = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly troubles: Troubles;
  /** Something of `state` has changed that is worth telling. Must not throw. */
  readonly onState: () => void;
  /** Instead of the transports that the settings name. */
  readonly outs?: readonly WayOut[];
};

type Counts = { -readonly [K in "stored" | "duplicate" | "notCollected" | "setAside" | "deferred"]: ReporterCounters[K] };

/** The way of events from a report to a coordinator: shelf, pump and transports. Nothing here throws or rejects. */
export class Line {
  readonly #settings: ReporterSettings;
  readonly #deps: LineDeps;
  readonly #shelf: Shelf;
  readonly #pump: Pump;
  readonly #ways: Ways;
  readonly #waiters = new Waiters();
  readonly #counts: Counts = { stored: 0, duplicate: 0, notCollected: 0, setAside: 0, deferred: 0 };

  constructor(settings: ReporterSettings, deps: LineDeps) {
    this.#settings = settings;
    this.#deps = deps;
    const { clock, rng, troubles } = deps;
    this.#pump = new Pump({
      ...{ clock, rng },
      rules: { maxRetries: settings.maxRetries, retryDelayMs: settings.retryDelay * 1_000, batchesPerSecond: settings.throttle },
      current: () => this.#ways.current,
      isAtBest: () => this.#ways.isAtBest,
      onResolved: (resolved) => this.#resolved(resolved),
      onDeferred: () => {
        this.#counts.deferred += 1;
      },
      onForgotten: () => this.#waiters.wake(),
      onFault: (thrown) =>
        troubles.tell(
          "spool",
          `events could not be sent, and are tried again: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
        ),
    });
    this.#ways = new Ways({
      ...{ clock, rng, outs: deps.outs ?? outsOf({ ...settings, ...guardCallbacks(settings, troubles, clock) }, deps) },
      onSettled: (name, settlement) => this.#pump.settle(name, settlement),
      onRoom: () => this.#pump.schedule(),
      onChosen: ({ current, reason }, before) => {
        settings.log?.info({ transport: current, before }, `reports go over ${current}: ${reason}`);
        if (before !== undefined) this.#pump.recall(before);
        this.#pump.schedule();
        deps.onState();
      },
      onBarred: (name, why) => troubles.tell("transport", `nothing can be reported over ${name}: ${why}`),
      silentMs: (name) => this.#pump.silentMs(name),
    });
    this.#shelf = new Shelf({
      ...{ clock, troubles, openDisk: diskOf(settings, deps) },
      onSpool: (spool) => this.#pump.addSource(spool),
      onOpened: () => {
        this.#waiters.wake();
        deps.onState();
      },
      onTakenOver: (moved) => {
        settings.log?.info({ events: moved }, "the spool is free now: events are kept on disk from here on, those that were in memory too");
      },
    });
  }

  get counts(): Counts {
    return { ...this.#counts };
  }

  get state(): Pick<ReporterState, "transport" | "reason" | "transports" | "spool"> {
    const { current, reason } = this.#ways.choice;
    return {
      ...{ transport: current, reason, transports: this.#ways.states },
      spool: { ...this.#shelf.figures, kind: this.#shelf.kind },
    };
  }

  get spools(): readonly Spool[] {
    return this.#shelf.spools;
  }

  take(eventId: string, kind: SpoolKind, encoded: Uint8Array): boolean {
    return this.#shelf.take(eventId, kind, encoded);
  }

  /** Resolves when everything that was taken is on disk. */
  durable(): Promise<void> {
    return this.#shelf.durable();
  }

  /** Resolves when nothing is unresolved: true; or after `maxMs`: false. */
  async flush(maxMs: number): Promise<boolean> {
    let isOver = maxMs <= 0;
    // Keeps the process alive while somebody waits: the timers of a clock do not.
    const awake = setInterval(() => undefined, 60_000);
    // A longer time than a timer can hold would be over at once.
    const cancel = this.#deps.clock.after(Math.min(maxMs, limits.timerMaxMs), () => {
      isOver = true;
      this.#waiters.wake();
    });
    await this.#waiters.until(() => isOver || this.#isEmpty);
    cancel();
    clearInterval(awake);
    return this.#isEmpty;
  }

  /** Waits for verdicts, stops the transports and writes what is left to disk. */
  async close(): Promise<void> {
    await this.#shelf.durable();
    await this.flush(this.#settings.closeMaxMs);
    const awake = setInterval(() => undefined, 60_000);
    this.#pump.stop();
    await this.#ways.stop(0);
    const lost = this.#shelf.volatileCount;
    const kept = this.#shelf.unresolvedCount - lost;
    if (lost > 0) this.#deps.troubles.tell("unresolved", `${lost} events without a verdict are lost: they were in memory only`);
    if (kept > 0)
      this.#settings.log?.info(
        { events: kept },
        "events without a verdict stay in the spool, and are sent by the next reporter that opens it",
      );
    await this.#shelf.close();
    clearInterval(awake);
  }

  /** A spool that is not open yet may hold anything. */
  get #isEmpty(): boolean {
    return this.#shelf.kind !== "opening" && this.#shelf.unresolvedCount === 0;
  }

  #resolved(resolved: Resolved): void {
    const { troubles } = this.#deps;
    switch (resolved.outcome) {
      case "set_aside":
        this.#counts.setAside += 1;
        troubles.tell("set_aside", `event ${resolved.eventId} is set aside, the coordinator refuses it: ${resolved.reason}`);
        break;
      case "not_collected":
        this.#counts.notCollected += 1;
        break;
      default:
        this.#counts[resolved.outcome] += 1;
    }
    if (this.#settings.onResolved !== undefined) troubles.run(() => this.#settings.onResolved?.(resolved));
  }
}

/** Opens the spool on disk; what it needs is loaded then. */
function diskOf({ localCachePath, log }: ReporterSettings, { clock, troubles }: LineDeps): (() => Promise<Spool>) | undefined {
  if (localCachePath === ":memory:") return undefined;
  let watch: HolderWatch | undefined;
  return async () => {
    const { openSpool } = await import("./spool/open-spool.js");
    watch ??= new (await import("./spool/holder.js")).HolderWatch();
    const onTrouble = ({ message }: { readonly message: string }) => troubles.tell("spool", message);
    return openSpool({ directory: localCachePath, clock, watch, onTrouble, ...(log === undefined ? {} : { log }) });
  };
}
