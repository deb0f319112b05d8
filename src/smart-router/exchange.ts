import type { Cancel, Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { ForeignEnd } from "./foreign-ends.js";
import { type HealthWord, readWord, type ToldHealth } from "./health/told.js";
import { forgetSilent, type Heard, mergeHeard, whereabouts } from "./heard.js";
import type { LocalSignalBook } from "./signals/book.js";
import { type Detail, memoryFormat, parseMemory, renderMemory } from "./signals/memory-text.js";

/** A digest as it stands in the store; `body` is what `renderMemory` made of `format`. */
export type WrittenDigest = {
  readonly coordinatorId: string;
  readonly runId: string;
  readonly seq: number;
  readonly format: number;
  readonly body: string;
};

type WrittenState = Pick<WrittenDigest, "coordinatorId" | "format" | "body">;
type Aged = { readonly ageMs: number };

/** An MCP whose stream is here, what it has in flight, and how it is. */
export type HeldMcp = HealthWord & { readonly mcpId: string; readonly inFlight: number };

/** An MCP whose stream another coordinator holds, as that one said `ageMs` ago. */
export type RemoteMcp = {
  readonly mcpId: string;
  readonly inFlight: number;
  readonly health: ToldHealth;
  readonly isSuspect: boolean;
  readonly coordinatorId: string;
  readonly ageMs: number;
};

export type ExchangeDeps = {
  /** The functions of the store; see there. */
  readonly exchangeDigests: (own: WrittenDigest, maxAgeMs: number) => Promise<readonly (WrittenDigest & Aged)[]>;
  readonly withdrawDigest: (coordinatorId: string, runId: string) => Promise<void>;
  readonly saveRouterState: (state: WrittenState, maxAgeMs: number) => Promise<void>;
  readonly readRouterStates: (maxCount: number) => Promise<readonly (WrittenState & Aged)[]>;
  /** No other coordinator can be on this store: nothing is exchanged, signals are only kept for a restart. */
  readonly isAlone: boolean;
  readonly book: Pick<
    LocalSignalBook,
    "digestOf" | "adopt" | "restore" | "claim" | "sharedSums" | "adoptShared" | "restoreShared" | "ownMcpIds"
  >;
  /** MCPs whose streams are here. */
  readonly held: () => readonly HeldMcp[];
  /** Hears of all MCPs that are elsewhere, ascending by mcpId, after each exchange. Must not throw. */
  readonly elsewhere: (mcps: readonly RemoteMcp[]) => void;
  /** Ends heard here of requests that another coordinator decided, lately. */
  readonly foreignEnds: () => readonly ForeignEnd[];
  /** Takes ends that others heard; most are of decisions of someone else, and each comes several times. Must not throw. */
  readonly ended: (ends: readonly ForeignEnd[]) => void;
  readonly coordinatorId: string;
  /** Names this run of the process. */
  readonly runId: string;
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
  #heard: Heard = new Map();
  #seq: number;
  #digestDetail: Detail = limits.routerDigestCellsMax;
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
    this.#seq = deps.clock.nowMs();
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
      this.#apply();
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
    const { clock, coordinatorId, runId, exchangeDigests } = this.#deps;
    const beganMs = clock.monotonicMs();
    const held = this.#deps.held();
    for (const { mcpId } of held) this.#deps.book.claim(mcpId);
    const rendered = renderMemory(
      this.#deps.book,
      held,
      beganMs,
      this.#digestDetail,
      limits.routerDigestMaxBytes,
      this.#deps.foreignEnds(),
    );
    this.#digestDetail = Math.min(rendered.nextDetail, limits.routerDigestCellsMax);
    this.#seq += 1;
    const builtMs = clock.monotonicMs();
    const rows = await exchangeDigests(
      { coordinatorId, runId, seq: this.#seq, format: memoryFormat, body: rendered.text },
      limits.routerDigestMaxAgeMs,
    );
    const readAtMs = clock.monotonicMs();
    for (const row of rows) this.#hear(row, readAtMs - row.ageMs);
    this.#workedMs = builtMs - beganMs + (clock.monotonicMs() - readAtMs);
  }

  #hear(row: WrittenDigest, atMs: number): void {
    const { coordinatorId, runId, seq } = row;
    const memory = this.#parse(row);
    if (memory === undefined) return;
    if (memory.ends.length > 0) this.#deps.ended(memory.ends);
    this.#heard = mergeHeard(this.#heard, new Map([[coordinatorId, { coordinatorId, runId, seq, atMs, ...memory }]]));
  }

  /** Undefined, and said once, for a body that another version of this program wrote. */
  #parse({ coordinatorId, format, body }: WrittenState): ReturnType<typeof parseMemory> {
    const memory = format === memoryFormat ? parseMemory(body) : undefined;
    if (memory !== undefined || this.#otherFormats.has(coordinatorId)) return memory;
    if (this.#otherFormats.size < limits.routedMcpMax) this.#otherFormats.add(coordinatorId);
    this.#deps.log.warn({ peer: coordinatorId, format, known: memoryFormat }, "signals of another version are ignored");
    return undefined;
  }

  /** Brings book and router to what was heard; also when nothing new was, because words grow old. */
  #apply(): void {
    const { book, clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#heard = forgetSilent(this.#heard, nowMs, limits.routerDigestMaxAgeMs);
    const heldHere = new Set(this.#deps.held().map(({ mcpId }) => mcpId));
    const remote: RemoteMcp[] = [];
    for (const [mcpId, { word, digest }] of whereabouts(this.#heard, heldHere)) {
      const ageMs = Math.max(0, nowMs - word.atMs);
      book.adopt(digest, `${word.coordinatorId}/${word.runId}`, ageMs, nowMs);
      remote.push({ mcpId, inFlight: digest.inFlight, ...readWord(digest), coordinatorId: word.coordinatorId, ageMs });
    }
    book.adoptShared(
      [...this.#heard.keys()].sort().flatMap((coordinatorId) => this.#heard.get(coordinatorId)?.shared ?? []),
      nowMs,
    );
    this.figures = { ...this.figures, peers: this.#heard.size };
    this.#deps.elsewhere(remote);
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
    const states = await this.#deps.readRouterStates(limits.routerStatesMax);
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
