import type { KeyRing } from "../../auth/api-key.js";
import { boundMcpId, type Principal } from "../../auth/principal.js";
import type { Ingest } from "../../ingest/ingest.js";
import type { Verdict } from "../../ingest/verdict.js";
import type { NewEvent } from "../../interaction/event.js";
import { CoordinatorError } from "../../platform/errors.js";
import { placeOf } from "../../wire/report-body.js";
import type { ReadEntry } from "./entry.js";
import { keyRefused, tooOften, unreadable } from "./fate.js";

export type JudgeDeps = {
  readonly ingest: Pick<Ingest, "accept" | "countRefused">;
  readonly authenticate: KeyRing["authenticate"];
  readonly maxDeliveries: number;
};

/** An event that may be committed, or a verdict that needs no store. */
export type JudgedEntry = { readonly kind: "accepted"; readonly event: NewEvent } | { readonly kind: "decided"; readonly verdict: Verdict };

/** Judges an entry: whether it was delivered too often, can be read, has a good key where keys are asked for, and is accepted. Refusals are counted by the ingest. */
export function judgeEntry(deps: JudgeDeps, entry: ReadEntry, deliveries: number): JudgedEntry {
  const { report, replyTo, apiKey } = entry;
  const subject = report.kind === "draft" ? report.draft : { eventId: report.eventId, interactionId: report.interactionId, sequence: 0n };
  const refuse = (verdict: Verdict): JudgedEntry => {
    deps.ingest.countRefused(verdict, "redis");
    return { kind: "decided", verdict };
  };
  if (deliveries > deps.maxDeliveries) return refuse(tooOften(subject, deliveries));
  if (report.kind === "faulty") return refuse(unreadable(subject, report.faults));
  const principal = authenticate(deps, apiKey);
  if (principal instanceof CoordinatorError) {
    return refuse(keyRefused(subject, principal.reason, principal.message, replyTo !== undefined));
  }
  const bearer = { principal, mcpId: boundMcpId(principal) ?? "", producerId: "", epoch: 0, labels: {}, source: "redis" } as const;
  const judged = deps.ingest.accept(bearer, report.draft);
  if (judged.kind === "accepted") return judged;
  const violations = judged.verdict.violations.map((fault) => ({ ...fault, field: placeOf(report.places, fault.field) }));
  return { kind: "decided", verdict: { ...judged.verdict, violations } };
}

function authenticate(deps: JudgeDeps, apiKey: string | undefined): Principal | CoordinatorError {
  try {
    return deps.authenticate(apiKey === undefined ? undefined : `Bearer ${apiKey}`);
  } catch (thrown) {
    return CoordinatorError.from(thrown); // Translated: becomes the verdict on this entry.
  }
}
