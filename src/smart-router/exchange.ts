import type { Cancel, Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { Peers, type PeersDeps, type WrittenDigest } from "./peers.js";
import type { LocalSignalBook } from "./signals/book.js";
import { type Detail, memoryFormat, parseMemory, renderMemory } from "./signals/memory-text.js";

type WrittenState = Pick<WrittenDigest, "coordinatorId" | "format" | "body">;
type Aged = { readonly ageMs: number };

export type ExchangeDeps = Omit<PeersDeps, "book" | "parse"> & {
  /** The functions of the store; see there. */
  readonly exchangeDigests: (own: WrittenDigest, maxAgeMs: number) => Promise<readonly (WrittenDigest & Aged)[]>;
  readonly withdrawDigest: (coordinatorId: string, runId: string) => Promise<void>;
  readonly saveRouterState: (state: WrittenState, maxAgeMs: number) => Promise<void>;
  readonly readRouterStates: (coordinatorId: string, maxCount: number) => Promise<readonly (WrittenState & Aged)[]>;
  /** No other coordinator can be on this store: nothing is exchanged, signals are only kept for a restart. */
  readonly isAlone: boolean;
  readonly book: Pick<
    LocalSignalBook,
    "digestOf" | "adopt" | "restore" | "claim" | "sharedSums" | "adoptShared" | "restoreShared" | "ownMcpIds"
  >;
  readonly clock: Clock;
  readonly log: Logger;
};

/** What the exchange did since its start. */
export type ExchangeFigures = {
  readonly exchanges: number;
  readonly failures: number;
  readonly peers: number;
  readonly restoredMcps: number;
};

export type Exchange = {
  /** Reads what was known before the restart, then begins. Never rejects: without a memory it begins with none. */
  readonly start: () => Promise<void>;
  readonly figures: () => ExchangeFigures;
  /** Saves once more, takes its digest back, and ends. */
  readonly close: () => Promise<void>;
};

/** Time spent on one exchange is at most this share of all time: large fleets are told of less often, up to five times. */
const dutyShare = 0.05;
const pauseMaxMs = 5_000;

/**
 * Tells the other coordinators about once a second what the MCPs held here do, and takes over what they tell. Each is the authority for the streams that it holds; its
 * word keeps its age, and counts as long as `limits.routerDigestMaxAgeMs`. Every ten seconds it saves what it knows for a restart.
 */
export function createExchange(deps: ExchangeDeps): Exchange {
  const loop = new ExchangeLoop(deps);
  return { start: () => loop.start(), figures: () => loop.figures, close: () => loop.close() };
}

class ExchangeLoop {
  readonly #deps: ExchangeDeps;
  readonly #peers: Peers;
  #stateDetail: Detail = limits.signalCellsPerMcpMax;
  #savedAtMs = Number.NEGATIVE_INFINITY;
  #cancel: Cancel = () => {};
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isFailing = false;
  readonly #otherFormats = new Set<string>();
  figures: ExchangeFigures = { exchanges: 0, failures: 0, peers: 0, restoredMcps: 0 };

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    // Wall time only so that a later run of one name has higher numbers; nothing is measured with it.
    this.#peers = new Peers({ ...deps, parse: (written) => this.#parse(written) }, deps.clock.nowMs());
  }

  async start(): Promise<void> {
    await this.#guard("signals of before could not be read: they are learned anew", () => this.#restore());
    await this.#turn();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    await this.#running;
    await this.#guard("signals could not be kept for the next start", () => this.#save());
    const { withdrawDigest, coordinatorId, runId, isAlone } = this.#deps;
    if (!isAlone) await this.#guard("the digest could not be taken back: it ages", () => withdrawDigest(coordinatorId, runId));
  }

  async #turn(): Promise<void> {
    const { clock } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    this.#running = this.#once();
    await this.#running;
    if (this.#isClosed) return;
    const pauseMs = Math.min(pauseMaxMs, Math.max(limits.routerExchangeIntervalMs, this.#workedMs / dutyShare));
    const spentMs = clock.monotonicMs() - startedAtMs;
    this.#cancel = clock.after(Math.max(0, pauseMs - spentMs), () => void this.#turn());
  }

  /** How long the last exchange kept the processor, without waiting for the store. */
  #workedMs = 0;

  async #once(): Promise<void> {
    const { isAlone, clock } = this.#deps;
    if (!isAlone) {
      const succeeded = await this.#guard("digests could not be exchanged: what is known of other coordinators ages", () => this.#swap());
      const { exchanges, failures } = this.figures;
      this.figures = { ...this.figures, exchanges: exchanges + 1, failures: failures + (succeeded ? 0 : 1) };
      this.#peers.apply(clock.monotonicMs());
      this.figures = { ...this.figures, peers: this.#peers.count };
    }
    if (clock.monotonicMs() - this.#savedAtMs < limits.routerStateIntervalMs) return;
    this.#savedAtMs = clock.monotonicMs();
    await this.#guard("signals could not be kept for a restart", () => this.#save());
  }

  /** The edge of the loop: a failure is logged when it begins and becomes age. Returns whether it went well. */
  async #guard(complaint: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      this.#isFailing = false;
      return true;
    } catch (err) {
      if (!this.#isFailing) this.#deps.log.warn({ err }, complaint);
      this.#isFailing = true;
      return false;
    }
  }

  async #swap(): Promise<void> {
    const { clock, exchangeDigests } = this.#deps;
    const beganMs = clock.monotonicMs();
    const own = this.#peers.write(beganMs);
    const builtMs = clock.monotonicMs();
    const rows = await exchangeDigests(own, limits.routerDigestMaxAgeMs);
    const readAtMs = clock.monotonicMs();
    for (const row of rows) this.#peers.hear(row, readAtMs - row.ageMs, readAtMs);
    this.#workedMs = builtMs - beganMs + (clock.monotonicMs() - readAtMs);
  }

  /** Undefined, and said once, for a body that another version of this program wrote. */
  #parse({ coordinatorId, format, body }: WrittenState): ReturnType<typeof parseMemory> {
    const memory = format === memoryFormat ? parseMemory(body) : undefined;
    if (memory !== undefined || this.#otherFormats.has(coordinatorId)) return memory;
    if (this.#otherFormats.size < limits.routedMcpMax) this.#otherFormats.add(coordinatorId);
    this.#deps.log.warn({ peer: coordinatorId, format, known: memoryFormat }, "signals of another version are ignored");
    return undefined;
  }

  async #save(): Promise<void> {
    const { book, clock, coordinatorId, saveRouterState } = this.#deps;
    const own = book.ownMcpIds().map((mcpId) => ({ mcpId, inFlight: 0 }));
    const rendered = renderMemory(book, own, clock.monotonicMs(), this.#stateDetail, limits.routerStateMaxBytes);
    this.#stateDetail = Math.min(rendered.nextDetail, limits.signalCellsPerMcpMax);
    await saveRouterState({ coordinatorId, format: memoryFormat, body: rendered.text }, limits.routerStateMaxAgeMs);
  }

  /** Its own memory first, then those of others: an MCP that was theirs may come here. */
  async #restore(): Promise<void> {
    const { book, clock, coordinatorId, log } = this.#deps;
    const states = await this.#deps.readRouterStates(coordinatorId, limits.routerStatesMax);
    const nowMs = clock.monotonicMs();
    const young = states.filter(({ ageMs }) => ageMs <= limits.routerStateMaxAgeMs);
    const mine = young.filter((state) => state.coordinatorId === coordinatorId);
    const restored = new Set<string>();
    let hasShared = false;
    for (const state of [...mine, ...young.filter((one) => !mine.includes(one))]) {
      const memory = this.#parse(state);
      if (memory === undefined) continue;
      if (!hasShared) book.restoreShared(memory.shared, nowMs);
      hasShared = true;
      for (const digest of memory.mcps) {
        if (restored.has(digest.mcpId)) continue;
        restored.add(digest.mcpId);
        book.restore(digest, state.ageMs, nowMs);
      }
    }
    this.figures = { ...this.figures, restoredMcps: restored.size };
    if (restored.size > 0) log.info({ mcps: restored.size }, "signals of before were read");
  }
}
