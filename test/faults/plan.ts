import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Rng } from "../../src/platform/rng.js";
import { uuidV7FromHash } from "../../src/platform/uuid-v7.js";
import type { EventInit } from "../support/make-event.js";

/** What is expected of an event: `valid` is stored; `invalid` breaks a rule and is refused, always in the same way. */
export type Intent = "valid" | "invalid";

/** An event as it will be reported. */
export type PlannedEvent = {
  readonly eventId: string;
  readonly intent: Intent;
  readonly init: EventInit;
  /** Other contents that are reported under the same id afterwards. */
  rivals: number;
};

/** How unruly the events of a load are. Shares in 0..1. */
export type PlanShares = {
  /** Interactions whose events come shuffled. */
  readonly shuffled: number;
  /** Events that are reported again with the same bytes. */
  readonly repeated: number;
  /** Events whose id is used again for other content. */
  readonly rivalled: number;
  readonly invalid: number;
  /** Interactions with two terminal events of different outcome. */
  readonly twoEnds: number;
  /** Interactions without a start. */
  readonly headless: number;
};

export const unruly: PlanShares = { shuffled: 0.3, repeated: 0.05, rivalled: 0.01, invalid: 0.01, twoEnds: 0.05, headless: 0.05 };

/** Every event once, in order, and well formed. */
export const orderly: PlanShares = { shuffled: 0, repeated: 0, rivalled: 0, invalid: 0, twoEnds: 0, headless: 0 };

/** One report to a session: the event as planned, or a rival content under its id. */
export type PlannedReport = { readonly planned: PlannedEvent; readonly init: EventInit; readonly isRival: boolean };

/** A UUID version 7 of now whose other bits come from `rng`. */
export function plannedId(rng: Rng, timeMs: number): string {
  const digits = Array.from({ length: 5 }, () =>
    Math.floor(rng() * 2 ** 32)
      .toString(16)
      .padStart(8, "0"),
  ).join("");
  return uuidV7FromHash(timeMs, digits);
}

/** The reports of one interaction, in the order in which they are to be sent. Everything but the times follows from `rng`. */
export function planInteraction(rng: Rng, interactionId: string, nowMs: number, shares: PlanShares = unruly): readonly PlannedReport[] {
  const details: EventInit["detail"][] = [];
  if (rng() >= shares.headless)
    details.push({ case: "start", value: { requestType: rng() < 0.5 ? "search" : "ocr", inputBytes: BigInt(Math.floor(rng() * 1e6)) } });
  for (let left = Math.floor(rng() * 3); left > 0; left -= 1)
    details.push({ case: "progress", value: { fraction: rng(), step: "s".repeat(1 + Math.floor(rng() * 40)) } });
  details.push(endOf(rng, rng() < 0.85));
  if (rng() < shares.twoEnds) details.push(endOf(rng, rng() < 0.5));
  const events = details.map((detail): PlannedEvent => {
    const isInvalid = rng() < shares.invalid;
    const init: EventInit = {
      eventId: plannedId(rng, nowMs),
      interactionId,
      occurredAt: timestampFromMs(nowMs - Math.floor(rng() * 5_000)),
      // A label longer than any rule allows is a fault that does not depend on time.
      labels: isInvalid ? { ["k".repeat(65)]: "v" } : { mark: Math.floor(rng() * 2 ** 32).toString(36) },
      ...(detail === undefined ? {} : { detail }),
    };
    return { eventId: init.eventId ?? "", intent: isInvalid ? "invalid" : "valid", init, rivals: 0 };
  });
  if (rng() < shares.shuffled) shuffle(rng, events);
  const reports = events.map((planned): PlannedReport => ({ planned, init: planned.init, isRival: false }));
  for (const planned of events) {
    if (rng() < shares.repeated) reports.push({ planned, init: planned.init, isRival: false });
    if (planned.intent === "valid" && rng() < shares.rivalled) {
      planned.rivals += 1;
      reports.push({ planned, init: { ...planned.init, labels: { mark: "rival" } }, isRival: true });
    }
  }
  return reports;
}

/** Fisher-Yates, in place. */
export function shuffle<T>(rng: Rng, items: T[]): void {
  for (let at = items.length - 1; at > 0; at -= 1) {
    const other = Math.floor(rng() * (at + 1));
    const held = items[at];
    const swapped = items[other];
    if (held === undefined || swapped === undefined) continue;
    items[at] = swapped;
    items[other] = held;
  }
}

function endOf(rng: Rng, isSuccess: boolean): EventInit["detail"] {
  const processingTime = { seconds: BigInt(Math.floor(rng() * 3)), nanos: Math.floor(rng() * 1e9) };
  if (isSuccess) return { case: "complete", value: { processingTime, qualityScore: Math.round(rng() * 100) / 100, adapterUsed: "local" } };
  return { case: "error", value: { errorCode: `E${Math.floor(rng() * 100)}`, errorMessage: "planned", processingTime } };
}
