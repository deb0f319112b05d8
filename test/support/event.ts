import { accept } from "../../src/ingest/accept.js";
import type { Draft, NewEvent } from "../../src/interaction/event.js";
import { draftOf, noonMs } from "./draft.js";

const deps = { pseudonym: (id: string) => `u_${id}`, maxClockSkewMs: 600_000, dedupeHorizonMs: 7 * 86_400_000 };

/** An accepted event; `more` overrides fields of its draft. */
export function eventOf(more: Partial<Draft> = {}, producerId = ""): NewEvent {
  const bearer = { principal: { kind: "anyone" }, mcpId: "", producerId, epoch: 0, labels: {}, source: "grpc" } as const;
  const judged = accept(deps, bearer, draftOf(more), noonMs);
  if (judged.kind === "refused") throw new Error(`not a valid event: ${JSON.stringify(judged.verdict.violations)}`);
  return judged.event;
}
