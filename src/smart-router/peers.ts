import { limits } from "../platform/limits.js";
import type { ForeignAudits } from "./foreign-audits.js";
import type { ForeignEnd } from "./foreign-ends.js";
import { type HealthWord, readWord, type ToldHealth } from "./health/told.js";
import { forgetSilent, type Heard, mergeHeard, whereabouts } from "./heard.js";
import type { LocalSignalBook } from "./signals/book.js";
import { type Detail, type MemoryText, memoryFormat, renderMemory } from "./signals/memory-text.js";

/** A digest as it stands in the store; `body` is what `renderMemory` made of `format`. */
export type WrittenDigest = {
  readonly coordinatorId: string;
  readonly runId: string;
  readonly seq: number;
  readonly format: number;
  readonly body: string;
};

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

export type PeersDeps = {
  readonly book: Pick<LocalSignalBook, "digestOf" | "adopt" | "claim" | "sharedSums" | "adoptShared">;
  /** MCPs whose streams are here. */
  readonly held: () => readonly HeldMcp[];
  /** Hears of all MCPs that are elsewhere, ascending by mcpId, after each exchange. Must not throw. */
  readonly elsewhere: (mcps: readonly RemoteMcp[]) => void;
  /** Ends heard here of requests that another coordinator decided, lately. */
  readonly foreignEnds: () => readonly ForeignEnd[];
  /** Takes ends that others heard, of a word written at `writtenAtMs`; most are of decisions of someone else, and each comes several times. Must not throw. */
  readonly ended: (ends: readonly ForeignEnd[], writtenAtMs: number) => void;
  /** Audits of what one coordinator decided and another one serves. */
  readonly audits: Pick<ForeignAudits, "tell" | "hear">;
  /** What a text says; undefined for one that cannot be read here. */
  readonly parse: (written: WrittenDigest) => MemoryText | undefined;
  readonly coordinatorId: string;
  /** Names this run of the process. */
  readonly runId: string;
};

/**
 * What a coordinator tells the others, and what it makes of what they tell: the merging of digests, without the way on which they travel. Times monotonic ms.
 * Each coordinator is the authority for the streams that it holds; its word keeps its age, and counts as long as `limits.routerDigestMaxAgeMs`.
 */
export class Peers {
  readonly #deps: PeersDeps;
  #heard: Heard = new Map();
  #seq: number;
  #detail: Detail = limits.routerDigestCellsMax;

  /** Numbers of words begin after `seq`: a later run of one name has to have higher ones. */
  constructor(deps: PeersDeps, seq: number) {
    this.#deps = deps;
    this.#seq = seq;
  }

  /** Coordinators whose word counts. */
  get count(): number {
    return this.#heard.size;
  }

  /** The word about the MCPs that are held here. */
  write(nowMs: number): WrittenDigest {
    const { book, coordinatorId, runId } = this.#deps;
    const held = this.#deps.held();
    for (const { mcpId } of held) book.claim(mcpId);
    const { audits, learned } = this.#deps.audits.tell(new Set(held.map(({ mcpId }) => mcpId)), nowMs);
    const news = { ends: this.#deps.foreignEnds(), audits, learned };
    const rendered = renderMemory(book, held, nowMs, this.#detail, limits.routerDigestMaxBytes, news);
    this.#detail = Math.min(rendered.nextDetail, limits.routerDigestCellsMax);
    this.#seq += 1;
    return { coordinatorId, runId, seq: this.#seq, format: memoryFormat, body: rendered.text };
  }

  /** Takes note of another one's word, written at `atMs`. */
  hear(written: WrittenDigest, atMs: number, nowMs: number): void {
    const { coordinatorId, runId, seq } = written;
    const memory = this.#deps.parse(written);
    if (memory === undefined) return;
    if (memory.ends.length > 0) this.#deps.ended(memory.ends, atMs);
    if (memory.audits.length + memory.learned.length > 0) this.#deps.audits.hear(memory, this.#heldIds(), atMs, nowMs);
    const { mcps, shared } = memory;
    this.#heard = mergeHeard(this.#heard, new Map([[coordinatorId, { coordinatorId, runId, seq, atMs, mcps, shared }]]));
  }

  /** Brings book and router to what was heard; also when nothing new was, because words grow old. */
  apply(nowMs: number): void {
    const { book } = this.#deps;
    this.#heard = forgetSilent(this.#heard, nowMs, limits.routerDigestMaxAgeMs);
    const heldHere = this.#heldIds();
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
    this.#deps.elsewhere(remote);
  }

  #heldIds(): ReadonlySet<string> {
    return new Set(this.#deps.held().map(({ mcpId }) => mcpId));
  }
}
