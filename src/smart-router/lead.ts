import { unreachable } from "../platform/assert.js";
import type { RouterSettings } from "./settings.js";

/** Where this coordinator stands among those that could publish. */
export type Lead =
  /** It has not read yet what is in force. */
  | { readonly kind: "starting" }
  /** Someone else publishes; nothing new has come since `quietSinceMs`. */
  | { readonly kind: "following"; readonly quietSinceMs: number }
  /** It has asked for a term. */
  | { readonly kind: "claiming" }
  /** It publishes under `term`; no version up to `version` is free. */
  | { readonly kind: "leading"; readonly term: number; readonly version: number }
  | { readonly kind: "closed" };

export type LeadEvent =
  | { readonly kind: "tick" }
  /** The newest publication was read. `ageMs` is by wall clock, undefined when there is none; `isNewer` than what is in force here. */
  | { readonly kind: "read"; readonly ageMs: number | undefined; readonly isNewer: boolean }
  | { readonly kind: "claimed"; readonly term: number; readonly version: number }
  /** Nothing to publish now. */
  | { readonly kind: "unchanged" }
  /** The publication with the next version is committed. */
  | { readonly kind: "stored" }
  /** The store knows a newer term. */
  | { readonly kind: "refused" }
  /** The store did not answer what was asked of it last. */
  | { readonly kind: "failed" }
  | { readonly kind: "close" };

/** What to do next; its result is the next event. */
export type LeadEffect = "none" | "read" | "claim" | "look";

export type LeadSettings = Pick<RouterSettings, "takeoverSilenceMs"> & {
  /** Nobody else may publish: the store admits one process, or this one holds the publisher's lock. Then it takes over at once. */
  readonly isAlone: boolean;
};

export type LeadStep = { readonly next: Lead; readonly effect: LeadEffect };

/** Next state and what to do about it. Pure.     Units: `nowMs` is monotonic.     Source: the table in SPEC.md, "Who publishes", which a test reads. */
export function stepLead(lead: Lead, event: LeadEvent, nowMs: number, settings: LeadSettings): LeadStep {
  if (event.kind === "close") return { next: { kind: "closed" }, effect: "none" };
  switch (lead.kind) {
    case "starting":
      return stepStarting(lead, event, nowMs, settings);
    case "following":
      return stepFollowing(lead, event, nowMs, settings);
    case "claiming":
      return stepClaiming(lead, event);
    case "leading":
      return stepLeading(lead, event, nowMs);
    case "closed":
      return { next: lead, effect: "none" };
    default:
      return unreachable(lead);
  }
}

function stepStarting(lead: Lead, event: LeadEvent, nowMs: number, settings: LeadSettings): LeadStep {
  if (event.kind === "tick") return { next: lead, effect: "read" };
  if (event.kind !== "read") return { next: lead, effect: "none" };
  const isFree = settings.isAlone || event.ageMs === undefined || event.ageMs >= settings.takeoverSilenceMs;
  return isFree ? { next: { kind: "claiming" }, effect: "claim" } : { next: { kind: "following", quietSinceMs: nowMs }, effect: "none" };
}

function stepFollowing(lead: Lead & { kind: "following" }, event: LeadEvent, nowMs: number, settings: LeadSettings): LeadStep {
  if (event.kind === "tick") return { next: lead, effect: "read" };
  // A store that does not answer proves nothing about the leader: only observed silence counts.
  if (event.kind === "failed") return { next: { kind: "following", quietSinceMs: nowMs }, effect: "none" };
  if (event.kind !== "read") return { next: lead, effect: "none" };
  if (settings.isAlone) return { next: { kind: "claiming" }, effect: "claim" };
  if (event.isNewer) return { next: { kind: "following", quietSinceMs: nowMs }, effect: "none" };
  const isSilent = nowMs - lead.quietSinceMs >= settings.takeoverSilenceMs;
  return isSilent ? { next: { kind: "claiming" }, effect: "claim" } : { next: lead, effect: "none" };
}

function stepClaiming(lead: Lead, event: LeadEvent): LeadStep {
  if (event.kind === "claimed") return { next: { kind: "leading", term: event.term, version: event.version }, effect: "look" };
  // Someone else may have claimed meanwhile: look again before the next attempt.
  if (event.kind === "failed" || event.kind === "tick")
    return { next: { kind: "starting" }, effect: event.kind === "tick" ? "read" : "none" };
  return { next: lead, effect: "none" };
}

function stepLeading(lead: Lead & { kind: "leading" }, event: LeadEvent, nowMs: number): LeadStep {
  switch (event.kind) {
    case "tick":
      return { next: lead, effect: "look" };
    case "stored":
    case "failed":
      // After a failure nobody knows whether the version was committed, so it is not used again.
      return { next: { ...lead, version: lead.version + 1 }, effect: "none" };
    case "refused":
      return { next: { kind: "following", quietSinceMs: nowMs }, effect: "read" };
    default:
      return { next: lead, effect: "none" };
  }
}
