import { equals } from "@bufbuild/protobuf";
import { type InteractionEvent, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Finding, RunFacts } from "./facts.js";
import { Progress } from "./progress.js";
import { seenOf } from "./record.js";

/** Time that a frame which says less may take to be read. */
const shrinkGraceMs = 500;
const timerSlackMs = 60;

/** Several events in one frame, and no more than the coordinator asked for. */
export function checkBatches({ seen, terms }: RunFacts): Finding {
  const sizes = seenOf(seen, "events").map(({ events }) => events.length);
  const tooLarge = sizes
    .filter((size) => size > terms.max_batch_events)
    .map((size) => `a batch of ${size} events; max_batch_events is ${terms.max_batch_events}`);
  return { occasions: sizes.filter((size) => size > 1).length, faults: tooLarge };
}

/** An event keeps its id, its sequence and its content; sequences begin above 0 and increase. */
export function checkIdentity({ seen, told }: RunFacts): Finding {
  const faults: string[] = [];
  const byId = new Map(told.map(({ event }) => [event.eventId, event]));
  const sequenceOf = new Map<string, bigint>();
  const idOf = new Map<bigint, string>();
  let newest = 0n;
  for (const { events } of seenOf(seen, "events")) {
    for (const event of events) {
      const { eventId, sequence } = event;
      const original = byId.get(eventId);
      if (original === undefined) faults.push(`event ${eventId} was not in the scenario: an id must be kept, not minted again`);
      else if (!isSame(original, event)) faults.push(`event ${eventId} has other content than it was told`);
      const before = sequenceOf.get(eventId);
      if (sequence === 0n) faults.push(`event ${eventId} has no sequence`);
      else if (before !== undefined && before !== sequence) faults.push(`event ${eventId} had sequence ${before}, then ${sequence}`);
      else if ((idOf.get(sequence) ?? eventId) !== eventId) faults.push(`sequence ${sequence} is of two events`);
      else if (before === undefined && sequence <= newest) faults.push(`new event ${eventId} has sequence ${sequence} after ${newest}`);
      sequenceOf.set(eventId, sequence);
      idOf.set(sequence, eventId);
      if (sequence > newest) newest = sequence;
    }
  }
  return { occasions: sequenceOf.size, faults };
}

/** Equal but for what the producer sets. */
function isSame(told: InteractionEvent, sent: InteractionEvent): boolean {
  return equals(InteractionEventSchema, { ...told, sequence: 0n, mcpId: "" }, { ...sent, sequence: 0n, mcpId: "" });
}

/** Never more events, or bytes of events, without a verdict than the newest FlowControl of the stream allows. One event alone may be of any size. */
export function checkWindow({ seen }: RunFacts, unit: "events" | "bytes"): Finding {
  const progress = new Progress();
  const faults: string[] = [];
  const window = new Map<number, { readonly max: number; readonly fromMs: number; readonly before: number }>();
  let occasions = 0;
  for (const one of seen) {
    progress.add(one);
    if (one.kind === "flow") {
      const max = unit === "events" ? one.flow.maxUnackedEvents : Number(one.flow.maxUnackedBytes);
      const known = window.get(one.stream);
      if (known?.max !== max) window.set(one.stream, { max, fromMs: one.atMs, before: known?.max ?? max });
    }
    if (one.kind !== "events") continue;
    const known = window.get(one.stream);
    if (known === undefined) {
      faults.push("events before the Welcome and its window");
      continue;
    }
    const sizes = [...progress.flying(one.stream).values()];
    const used = unit === "events" ? sizes.length : sizes.reduce((sum, size) => sum + size, 0);
    const max = one.atMs - known.fromMs < shrinkGraceMs ? Math.max(known.max, known.before) : known.max;
    if (used * 2 >= max) occasions += 1;
    if (used > max && sizes.length > 1) faults.push(`${used} ${unit} without a verdict; the window is ${max}`);
  }
  return { occasions, faults };
}

/** The ledger tells of each event the verdict that came, whichever way it was told: in a range, in an exception, by a resume point, over HTTP. */
export function checkAcks({ seen, told, ledger }: RunFacts): Finding {
  const progress = new Progress();
  for (const one of seen) progress.add(one);
  const faults: string[] = [];
  let occasions = 0;
  for (const { event } of told) {
    const onWire = progress.events.get(event.eventId)?.verdicts ?? [];
    const inLedger = ledger.acked.get(event.eventId) ?? [];
    const said = new Set(onWire.flatMap((status) => (status === "RESUME" ? ["STORED", "DUPLICATE"] : [status])));
    const invented = inLedger.filter((status) => !said.has(status));
    if (invented.length > 0)
      faults.push(
        `event ${event.eventId}: the ledger says ${invented.join(", ")}, the coordinator said ${[...said].join(", ") || "nothing"}`,
      );
    if (inLedger.length === 0) faults.push(`event ${event.eventId} has no verdict in the ledger`);
    else occasions += 1;
  }
  return { occasions, faults };
}

/** What is refused for now is sent again, not before its time, and is stored in the end. */
export function checkRetry({ seen, told, stored }: RunFacts): Finding {
  const faults: string[] = [];
  const dueMs = new Map<string, number>();
  const repeated = new Set<string>();
  for (const one of seen) {
    if (one.kind === "verdicts") for (const verdict of one.verdicts) if (verdict.isRetryable) dueMs.set(verdict.eventId, verdict.retryAtMs);
    if (one.kind !== "events" && one.kind !== "posted") continue;
    for (const { eventId } of one.events) {
      const due = dueMs.get(eventId);
      if (due === undefined) continue;
      if (one.atMs < due - timerSlackMs)
        faults.push(`event ${eventId} was sent again ${Math.round(due - one.atMs)} ms before its retry_delay had passed`);
      repeated.add(eventId);
      dueMs.delete(eventId);
    }
  }
  for (const { event, destiny } of told) {
    if (destiny !== "stored_later") continue;
    if (!repeated.has(event.eventId)) faults.push(`event ${event.eventId} was refused for now, and not sent again`);
    else if (stored.events.get(event.eventId) !== "equal") faults.push(`event ${event.eventId} was not stored in the end`);
  }
  return { occasions: repeated.size, faults };
}

/** What is refused for good is not sent again, stands in the ledger, and harms nobody. */
export function checkRefusal({ seen, told, ledger }: RunFacts): Finding {
  const refused = new Set<string>();
  const faults: string[] = [];
  for (const one of seen) {
    if (one.kind === "events") {
      for (const { eventId } of one.events) if (refused.has(eventId)) faults.push(`event ${eventId} was refused for good, and sent again`);
    }
    if (one.kind === "verdicts") for (const { eventId, status } of one.verdicts) if (status === "INVALID") refused.add(eventId);
  }
  for (const { event, destiny } of told) {
    if (destiny === "refused" && !ledger.acked.get(event.eventId)?.includes("INVALID"))
      faults.push(`event ${event.eventId}: no INVALID in the ledger`);
  }
  return { occasions: refused.size, faults };
}

/** Every event has its line in the ledger before it reaches the network. */
export function checkLedger({ seen, ledger }: RunFacts): Finding {
  const faults: string[] = ledger.faults.map((fault) => `a line that is none: ${fault}`);
  let occasions = 0;
  for (const { events, isLedgered } of seenOf(seen, "events")) {
    events.forEach(({ eventId }, index) => {
      if (isLedgered[index] === true) occasions += 1;
      else faults.push(`event ${eventId} was on the wire before its line was in the ledger`);
    });
  }
  return { occasions, faults };
}

/** All that was told is stored, once, as it was told; and nothing else. */
export function checkStored({ told, stored }: RunFacts): Finding {
  const faults = [...stored.tallyFaults];
  let occasions = 0;
  for (const { event, destiny } of told) {
    const found = stored.events.get(event.eventId) ?? "nothing";
    if (destiny === "refused") {
      if (found === "equal" || found === "other") faults.push(`event ${event.eventId} breaks a rule and is stored`);
    } else if (found === "equal") occasions += 1;
    else faults.push(found === "other" ? `event ${event.eventId} is stored with other content` : `event ${event.eventId} is lost`);
  }
  return { occasions, faults };
}
