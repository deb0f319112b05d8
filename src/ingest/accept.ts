import { mayActFor, type Principal } from "../auth/principal.js";
import { checkDraft } from "../interaction/check.js";
import { type CollectionRules, isCollected, reduceDraft } from "../interaction/collect.js";
import { canonicalJson, contentHash, contentText, rawOf, stampContent } from "../interaction/content.js";
import {
  type Detail,
  type Draft,
  type Facts,
  type Instant,
  type NewEvent,
  parseInteractionId,
  parseMcpId,
  type Source,
  type Span,
} from "../interaction/event.js";
import { limits } from "../platform/limits.js";
import { parseUuidV7, uuidV7FromHash, uuidV7TimeMs } from "../platform/uuid-v7.js";
import { createVerdict, type Subject, type Verdict } from "./verdict.js";

/** What accepting needs besides the event. */
export type AcceptDeps = {
  /** Stands for a user id wherever it would be stored. */
  readonly pseudonym: (userId: string) => string;
  readonly maxClockSkewMs: number;
  readonly dedupeHorizonMs: number;
  /** Collection rules of an MCP; undefined, or absent, when everything is kept. */
  readonly rulesOf?: (mcpId: string) => CollectionRules | undefined;
};

/** Who brings events, and what they said about themselves. */
export type Bearer = {
  readonly principal: Principal;
  /** Used for events that name no MCP; empty when there is none. */
  readonly mcpId: string;
  readonly producerId: string;
  /** Fencing token of the producer's session; 0 means not fenced. */
  readonly epoch: number;
  /** Labels for events that do not have them. Checked. */
  readonly labels: Readonly<Record<string, string>>;
  readonly source: Source;
};

export type Accepted = { readonly kind: "accepted"; readonly event: NewEvent };
export type Refused = { readonly kind: "refused"; readonly verdict: Verdict };

/**
 * Judges one event by everything that needs no store: ownership, size, rules, time. What is accepted may be committed as it is.
 * Pure but for `deps.pseudonym`; the same event at the same time gets the same answer.     Units: `nowMs` is wall time.
 */
export function accept(deps: AcceptDeps, bearer: Bearer, draft: Draft, nowMs: number): Accepted | Refused {
  // The bearer's own text where it is the same: the maps that it is looked up in compare it with itself, and the copy of each event may go.
  const mcpId = draft.mcpId === "" || draft.mcpId === bearer.mcpId ? bearer.mcpId : draft.mcpId;
  if (mcpId !== "" && !mayActFor(bearer.principal, mcpId)) return refuse(draft, "permission_denied");
  if (draft.encodedBytes > limits.eventMaxBytes) return refuse(draft, "too_large");
  const faults = checkDraft(draft);
  const named =
    mcpId === "" ? [{ field: "mcp_id", reason: "REQUIRED", description: "neither the event, Hello nor the key names an MCP" }] : [];
  const { detail, occurredAt } = draft;
  if (faults.length + named.length > 0 || detail === undefined || occurredAt === undefined) {
    return refuse(draft, "invalid", { violations: [...named, ...faults].slice(0, limits.violationMaxCount) });
  }
  const occurredAtUs = toMicros(occurredAt);
  const newestMs = draft.eventId === "" ? occurredAtUs / 1000 : Math.max(occurredAtUs / 1000, uuidV7TimeMs(draft.eventId));
  const leadMs = newestMs - nowMs - deps.maxClockSkewMs;
  if (leadMs > 0) return refuseSkewed(draft, leadMs);
  const content = contentText(draft, deps.pseudonym);
  const hash = contentHash(draft.interactionId, occurredAtUs, content, rawOf(detail));
  const eventId = parseUuidV7(draft.eventId) ?? deriveEventId(mcpId, draft.interactionId, occurredAtUs, hash);
  if (uuidV7TimeMs(eventId) < nowMs - deps.dedupeHorizonMs) return refuse({ ...draft, eventId }, "too_old");
  const rules = deps.rulesOf?.(mcpId);
  if (rules !== undefined && !isCollected(rules, detail.kind, draft.interactionId)) return refuse({ ...draft, eventId }, "not_collected");
  // The hash is of what was sent, whatever is kept of it: sent again under other rules it is the same event.
  const kept = rules === undefined ? draft : reduceDraft(rules, draft);
  const keptDetail = kept.detail ?? detail;
  const raw = rawOf(keptDetail);
  const text = kept === draft ? content : contentText(kept, deps.pseudonym);
  const body = stampContent(text, stampText(bearer.labels, draft.labels));
  const event: NewEvent = {
    eventId,
    mcpId: parseMcpId(mcpId),
    interactionId: parseInteractionId(draft.interactionId),
    producerId: bearer.producerId,
    epoch: bearer.epoch,
    sequence: draft.sequence,
    resumeSequence: draft.sequence,
    kind: detail.kind,
    occurredAtUs,
    digest: hash.slice(0, 32),
    body,
    raw,
    facts: factsOf(keptDetail, kept.sessionId, deps.pseudonym),
    source: bearer.source,
    encodedBytes: draft.encodedBytes,
    costBytes: eventOverheadBytes + body.length * 2 + (raw?.byteLength ?? 0) * 3,
  };
  return { kind: "accepted", event };
}

/** What an accepted event costs in memory besides its body, roughly: the object, its strings and its place in the queue. */
const eventOverheadBytes = 600;

function refuse(draft: Draft, status: Verdict["status"], more: Parameters<typeof createVerdict>[2] = {}): Refused {
  return { kind: "refused", verdict: createVerdict(nameOf(draft), status, more) };
}

/**
 * What a verdict repeats of a refused event. An id that is too long to be one is cut: verdicts must not fill a frame that nobody can receive, nor, while a
 * peer does not read them, hold all that it has sent.
 */
function nameOf({ eventId, sequence, interactionId }: Draft): Subject {
  return { eventId: shortId(eventId), sequence, interactionId: shortId(interactionId) };
}

/** By way of bytes: a mere slice would keep the whole text alive. */
function shortId(id: string): string {
  return id.length <= limits.idMaxBytes ? id : Buffer.from(id.slice(0, limits.idMaxBytes)).toString();
}

/** A small lead passes by waiting; a large one is a mistake that waiting does not mend. */
function refuseSkewed(draft: Draft, leadMs: number): Refused {
  if (leadMs > limits.skewRetryMaxMs) return refuse(draft, "clock_skew", { retryable: false });
  return refuse(draft, "clock_skew", { retryAfterMs: Math.ceil(leadMs) });
}

function toMicros(at: Instant): number {
  return Number(at.seconds) * 1_000_000 + Math.floor(at.nanos / 1000);
}

/** The same event without an id always gets the same one: its time and 74 bits of what it says and whose it is. */
function deriveEventId(mcpId: string, interactionId: string, occurredAtUs: number, hash: string): string {
  return uuidV7FromHash(Math.floor(occurredAtUs / 1000), contentHash(`${mcpId}\0${interactionId}`, occurredAtUs, hash, undefined));
}

/** JSON text of the session's labels that the event does not have itself; empty when there are none. */
function stampText(stamps: Readonly<Record<string, string>>, own: Readonly<Record<string, string>>): string {
  let added: Record<string, string> | undefined;
  for (const key in stamps) {
    if (!Object.hasOwn(own, key)) {
      added ??= {};
      added[key] = stamps[key] ?? "";
    }
  }
  return added === undefined ? "" : canonicalJson(added);
}

function factsOf(detail: Detail, sessionId: string, pseudonym: (userId: string) => string): Facts {
  switch (detail.kind) {
    case "start":
      return {
        kind: "start",
        requestType: detail.requestType,
        sessionId,
        userPseudonym: detail.userId === "" ? "" : pseudonym(detail.userId),
        routingDecisionId: detail.routingDecisionId,
        inputBytes: Number(detail.inputBytes),
        qualityLevel: detail.qualityLevel,
        privacyLevel: detail.privacyLevel,
      };
    case "progress":
      return { kind: "progress" };
    case "complete":
      return {
        kind: "terminal",
        success: detail.success ?? true,
        durationMs: toMs(detail.processingTime),
        qualityScore: detail.qualityScore,
        errorCode: "",
        adapterUsed: detail.adapterUsed,
      };
    case "error":
      return {
        kind: "terminal",
        success: false,
        durationMs: toMs(detail.processingTime),
        qualityScore: undefined,
        errorCode: detail.errorCode,
        adapterUsed: "",
      };
  }
}

function toMs(span: Span | undefined): number | undefined {
  return span === undefined ? undefined : Number(span.seconds) * 1000 + span.nanos / 1e6;
}
