import { limits } from "../platform/limits.js";
import { RecentNames } from "./recent-names.js";
import { plainRequest } from "./request.js";
import type { LearntAudit } from "./router.js";

/** An audit as a word tells it: with what routing knows requests by, for whoever has not seen this one. Plain JSON. */
export type ToldAudit = {
  readonly decisionId: string;
  readonly mcpId: string;
  /** 0 to 1. */
  readonly quality: number;
  readonly requestType: string;
  readonly inputBytes: number;
  readonly qualityLevel: string;
  readonly privacyLevel: string;
  /** How long before the word it was judged. Unit: ms. */
  readonly agoMs: number;
};

/** What a coordinator learned from, of an MCP of which the same word tells what is known with that. */
export type LearnedAudit = { readonly decisionId: string; readonly mcpId: string };

/** What one word says of audits. */
export type AuditWord = { readonly audits: readonly ToldAudit[]; readonly learned: readonly LearnedAudit[] };

export type ForeignAuditsDeps = {
  /** See Router.learnAudit. */
  readonly learn: (audit: LearntAudit) => boolean;
  /** Hears of audits that nobody has learned from: there were too many, or whoever holds the MCP's stream has not said that it has. Must not throw. */
  readonly lost: (count: number) => void;
};

/** Waits for the end of its way: `acknowledgedAtMs` is undefined until a word says that somebody has learned from it. */
type Waiting = { readonly audit: LearntAudit; acknowledgedAtMs: number | undefined };

/**
 * How long an audit is still told after it was acknowledged, since the stream may have moved to who has not read that word; and how long it is acknowledged after it was told last. A peer that exchanges as
 * seldom as it may reads either twice. Unit: ms.
 */
const afterwardsMs = 10_000;

/**
 * Audits on their way to the coordinators that hold the streams of the MCPs that were judged. Told in each word until a word of the holder says that it has learned, and some seconds longer: at least once.
 * Learned from once: each coordinator knows which ones its own knowledge of an MCP, or the one that it took over, has in it.
 * Bounds: `limits.foreignAuditsMax` that are told, and as many that are acknowledged; `limits.foreignAuditMaxAgeMs`; `limits.routedPastMax` that are known. Source: signals/SPEC.md.
 */
export class ForeignAudits {
  readonly #deps: ForeignAuditsDeps;
  /** Of decisions of this coordinator, oldest first, by decision. */
  readonly #waiting = new Map<string, Waiting>();
  /** By decision: learned from, here or by whoever had the stream, and told lately. */
  readonly #learned = new Map<string, { readonly mcpId: string; readonly heardAtMs: number }>();
  /** Decisions whose audits the knowledge of their MCPs has in it. */
  readonly #known = new RecentNames(limits.routedPastMax);

  constructor(deps: ForeignAuditsDeps) {
    this.#deps = deps;
  }

  /** An audit of a decision of this coordinator, of an MCP whose stream is elsewhere. */
  add(audit: LearntAudit): void {
    if (this.#waiting.has(audit.decisionId) || this.#known.has(audit.decisionId)) return;
    this.#waiting.set(audit.decisionId, { audit, acknowledgedAtMs: undefined });
    if (this.#waiting.size <= limits.foreignAuditsMax) return;
    for (const [oldest, { acknowledgedAtMs }] of this.#waiting) {
      this.#waiting.delete(oldest);
      if (acknowledgedAtMs === undefined) this.#deps.lost(1);
      break;
    }
  }

  /** What the next word says. `held`: MCPs of which it tells what is known; an MCP that has come here meanwhile is learned of first. */
  tell(held: ReadonlySet<string>, nowMs: number): AuditWord {
    for (const [decisionId, { audit }] of this.#waiting) if (held.has(audit.mcpId)) this.#take(decisionId, audit, nowMs);
    this.#forgetOld(nowMs);
    const learned: LearnedAudit[] = [];
    for (const [decisionId, { mcpId }] of this.#learned) if (held.has(mcpId)) learned.push({ decisionId, mcpId });
    return { audits: [...this.#waiting.values()].map(({ audit }) => toldAs(audit, nowMs)), learned };
  }

  /** Takes what a word says that was written at `writtenAtMs`. Words may be repeated, and come in any order. `held`: MCPs whose streams are here. */
  hear({ audits, learned }: AuditWord, held: ReadonlySet<string>, writtenAtMs: number, nowMs: number): void {
    for (const { decisionId, mcpId } of learned) {
      // What is known of an MCP that is here was taken over from an earlier word, if from any.
      if (held.has(mcpId)) continue;
      this.#known.add(decisionId);
      this.#acknowledge(decisionId, mcpId, nowMs);
    }
    for (const told of audits) {
      const atMs = Math.min(nowMs, writtenAtMs - Math.max(0, told.agoMs));
      if (held.has(told.mcpId)) this.#take(told.decisionId, auditOf(told, atMs), nowMs);
    }
  }

  /** Learns from the audit of an MCP that is here, unless what is known of it has it already, and acknowledges it. */
  #take(decisionId: string, audit: LearntAudit, nowMs: number): void {
    if (!this.#known.has(decisionId)) {
      if (!this.#deps.learn(audit)) return;
      this.#known.add(decisionId);
    }
    this.#acknowledge(decisionId, audit.mcpId, nowMs);
  }

  /** Of what another one learned too: should the stream come here, what is taken over of the MCP has the audit in it, and only a word of the holder says so. */
  #acknowledge(decisionId: string, mcpId: string, nowMs: number): void {
    const waiting = this.#waiting.get(decisionId);
    if (waiting !== undefined) waiting.acknowledgedAtMs ??= nowMs;
    this.#learned.delete(decisionId);
    this.#learned.set(decisionId, { mcpId, heardAtMs: nowMs });
    for (const oldest of this.#learned.keys()) {
      if (this.#learned.size <= limits.foreignAuditsMax) break;
      this.#learned.delete(oldest);
    }
  }

  #forgetOld(nowMs: number): void {
    let lost = 0;
    for (const [decisionId, { audit, acknowledgedAtMs }] of this.#waiting) {
      const isOver =
        acknowledgedAtMs === undefined ? nowMs - audit.atMs > limits.foreignAuditMaxAgeMs : nowMs - acknowledgedAtMs > afterwardsMs;
      if (!isOver) continue;
      this.#waiting.delete(decisionId);
      if (acknowledgedAtMs === undefined) lost += 1;
    }
    for (const [decisionId, { heardAtMs }] of this.#learned) if (nowMs - heardAtMs > afterwardsMs) this.#learned.delete(decisionId);
    if (lost > 0) this.#deps.lost(lost);
  }
}

function toldAs({ decisionId, mcpId, quality, request, atMs }: LearntAudit, nowMs: number): ToldAudit {
  const { requestType, inputBytes, qualityLevel, privacyLevel } = request;
  return { decisionId, mcpId, quality, requestType, inputBytes, qualityLevel, privacyLevel, agoMs: Math.max(0, Math.round(nowMs - atMs)) };
}

function auditOf({ decisionId, mcpId, quality, agoMs: _, ...features }: ToldAudit, atMs: number): LearntAudit {
  return { decisionId, mcpId, quality, request: { ...plainRequest, ...features }, atMs };
}
