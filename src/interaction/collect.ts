import { unreachable } from "../platform/assert.js";
import type { Detail, Draft } from "./event.js";

/** Fields of an event that a rule may leave out of what is stored. The words of CollectionRules.drop_fields in the contract. */
export const droppableFields = [
  "start.user_id",
  "start.input_bytes",
  "start.quality_level",
  "start.parameters",
  "start.request",
  "progress.step",
  "progress.message",
  "progress.resource_usage",
  "progress.data",
  "complete.steps_executed",
  "complete.resource_usage",
  "complete.result",
  "error.error_message",
  "error.resource_usage",
  "error.data",
  "labels",
  "session_id",
] as const;

export type DroppableField = (typeof droppableFields)[number];

/** Which events of an MCP are kept, and what of them. */
export type CollectionRules = {
  /** Share of interactions whose progress is kept, 0 to 1. */
  readonly progressSampleRatio: number;
  readonly dropFields: readonly DroppableField[];
};

/** Everything is kept. */
export const collectAll: CollectionRules = { progressSampleRatio: 1, dropFields: [] };

/** Whether an event of this interaction is kept. Only progress is ever left out, and always all of an interaction's or none. */
export function isCollected(rules: CollectionRules, kind: Detail["kind"], interactionId: string): boolean {
  return kind !== "progress" || rules.progressSampleRatio >= 1 || shareOf(interactionId) < rules.progressSampleRatio;
}

/** The event without what the rules leave out; the same object when they leave out nothing of it. */
export function reduceDraft(rules: CollectionRules, draft: Draft): Draft {
  let reduced = draft;
  for (const field of rules.dropFields) reduced = drop(reduced, field);
  return reduced;
}

/**
 * Where an interaction lies between 0 and 1: the same on every coordinator and in every process.
 * Source: FNV-1a over UTF-16 units, 32 bits, mixed by the finalizer of MurmurHash3, whose low and high bits both spread.
 */
export function shareOf(interactionId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < interactionId.length; i++) hash = Math.imul(hash ^ interactionId.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 4_294_967_296;
}

function drop(draft: Draft, field: DroppableField): Draft {
  const { detail } = draft;
  switch (field) {
    case "labels":
      return { ...draft, labels: {} };
    case "session_id":
      return { ...draft, sessionId: "" };
    case "start.user_id":
      return detail?.kind === "start" ? { ...draft, detail: { ...detail, userId: "" } } : draft;
    case "start.input_bytes":
      return detail?.kind === "start" ? { ...draft, detail: { ...detail, inputBytes: 0n } } : draft;
    case "start.quality_level":
      return detail?.kind === "start" ? { ...draft, detail: { ...detail, qualityLevel: "" } } : draft;
    case "start.parameters":
      return detail?.kind === "start" ? { ...draft, detail: { ...detail, parameters: undefined } } : draft;
    case "progress.step":
      return detail?.kind === "progress" ? { ...draft, detail: { ...detail, step: "" } } : draft;
    case "progress.message":
      return detail?.kind === "progress" ? { ...draft, detail: { ...detail, message: "" } } : draft;
    case "complete.steps_executed":
      return detail?.kind === "complete" ? { ...draft, detail: { ...detail, stepsExecuted: [] } } : draft;
    case "error.error_message":
      return detail?.kind === "error" ? { ...draft, detail: { ...detail, errorMessage: "" } } : draft;
    case "start.request":
    case "progress.data":
    case "complete.result":
    case "error.data":
      return detail !== undefined && field.startsWith(`${detail.kind}.`) ? { ...draft, detail: { ...detail, payload: undefined } } : draft;
    case "progress.resource_usage":
    case "complete.resource_usage":
    case "error.resource_usage":
      return dropUsage(draft, field);
    default:
      return unreachable(field);
  }
}

function dropUsage(draft: Draft, field: `${"progress" | "complete" | "error"}.resource_usage`): Draft {
  const { detail } = draft;
  if (detail === undefined || detail.kind === "start" || field !== `${detail.kind}.resource_usage`) return draft;
  return { ...draft, detail: { ...detail, resourceUsage: undefined } };
}
