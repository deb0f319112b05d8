import { verdictFields } from "../../interaction/redis-contract.js";
import type { RedisReply } from "../../platform/redis-connection.js";
import type { Settlement } from "./transport.js";

/** An entry of the stream of verdicts. */
export type VerdictEntry = { readonly id: string; readonly eventId: string; readonly fields: Readonly<Record<string, string>> };

/** Answer of XREAD for one stream: [[stream, [[id, [name, value, ...]]]]], or null. Total: what is not understood is left out. */
export function readVerdicts(reply: RedisReply): readonly VerdictEntry[] {
  const [only] = listOf(reply);
  return listOf(listOf(only)[1]).flatMap((entry) => {
    const [id, flat] = listOf(entry);
    const texts = listOf(flat).map(textOf);
    const fields: Record<string, string> = {};
    for (let i = 0; i + 1 < texts.length; i += 2) fields[texts[i] ?? ""] = texts[i + 1] ?? "";
    return textOf(id) === "" ? [] : [{ id: textOf(id), eventId: fields[verdictFields.eventId] ?? "", fields }];
  });
}

const outcomes: Readonly<Record<string, Settlement["outcome"]>> = {
  STORED: "stored",
  DUPLICATE: "duplicate",
  NOT_COLLECTED: "not_collected",
};

/** What a verdict means for the event. Only `retryable` 0 sets an event aside; a verdict without it is of no known coordinator, and defers. */
export function settlementOf(eventId: string, fields: Readonly<Record<string, string>>): Settlement {
  const verdict = fields[verdictFields.verdict] ?? "";
  const outcome = outcomes[verdict];
  if (outcome !== undefined) return { eventId, outcome, reason: "" };
  const reason = [verdict, fields[verdictFields.reason] ?? ""].filter((part) => part !== "").join(" ");
  return { eventId, outcome: fields[verdictFields.retryable] === "0" ? "rejected" : "deferred", reason };
}

function listOf(reply: RedisReply | undefined): readonly RedisReply[] {
  // The cast: Array.isArray does not narrow to a readonly array.
  return Array.isArray(reply) ? (reply as readonly RedisReply[]) : [];
}

function textOf(reply: RedisReply | undefined): string {
  return reply instanceof Uint8Array ? Buffer.from(reply).toString("utf8") : "";
}
