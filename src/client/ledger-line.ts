import type { InteractionEvent } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import { decodeEvent } from "./wire/frames.js";

/** The name of a verdict in a ledger: that of the contract without its prefix. */
export type AckStatus = Exclude<keyof typeof EventStatus, "UNSPECIFIED" | "NOT_FOUND">;

/** One line of a ledger file: an event about to be sent, or a verdict that came. Source: docs/verify.md. */
export type LedgerLine =
  | {
      readonly kind: "sent";
      readonly eventId: string;
      readonly mcpId: string;
      readonly interactionId: string;
      /** The encoded InteractionEvent in base64; undefined when only its id is to be looked for. */
      readonly event: string | undefined;
    }
  | { readonly kind: "acked"; readonly eventId: string; readonly status: AckStatus };

/** A line that is none, and why. */
export type LedgerFault = { readonly kind: "fault"; readonly reason: string };

const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The text of a line, without its end. JSON escapes control characters: a line never holds a line end. */
export function formatLedgerLine(line: LedgerLine): string {
  if (line.kind === "acked") return JSON.stringify({ acked: line.eventId, status: line.status });
  return JSON.stringify({ sent: line.eventId, mcp: line.mcpId, interaction: line.interactionId, event: line.event });
}

/** Reads a line back. Members that are not known are ignored, as a newer writer may add some. */
export function parseLedgerLine(text: string): LedgerLine | LedgerFault {
  const read = readJson(text);
  if (typeof read !== "object" || read === null || Array.isArray(read)) return fault("not a JSON object");
  const { sent, acked, status, mcp, interaction, event } = read as Readonly<Record<string, unknown>>; // an object that is no array
  if ((sent === undefined) === (acked === undefined)) return fault('has to have one of "sent" and "acked"');
  const eventId = parseId(sent ?? acked);
  if (eventId === undefined) return fault(`"${sent === undefined ? "acked" : "sent"}" is not a UUID version 7`);
  if (sent === undefined) {
    return isAckStatus(status) ? { kind: "acked", eventId, status } : fault(`"status" is not one of ${ackStatuses.join(", ")}`);
  }
  if (typeof mcp !== "string" || mcp === "") return fault('"mcp" is not the id of an MCP');
  if (typeof interaction !== "string" || interaction === "") return fault('"interaction" is not the id of an interaction');
  const line = { kind: "sent", eventId, mcpId: mcp, interactionId: interaction } as const;
  if (event === undefined) return { ...line, event };
  if (typeof event !== "string" || !base64Pattern.test(event)) return fault('"event" is not base64');
  const wrong = compareWithEvent(line, event);
  return wrong === undefined ? { ...line, event } : fault(wrong);
}

const ackStatuses = Object.keys(EventStatus).filter(
  (name): name is AckStatus => Number.isNaN(Number(name)) && name !== "UNSPECIFIED" && name !== "NOT_FOUND",
);

function isAckStatus(value: unknown): value is AckStatus {
  return ackStatuses.some((name) => name === value);
}

function fault(reason: string): LedgerFault {
  return { kind: "fault", reason };
}

function parseId(value: unknown): string | undefined {
  return typeof value === "string" ? parseUuidV7(value) : undefined;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Becomes state: the caller names the line.
  }
}

/** What is wrong with the event of a line; undefined when it belongs to the line. */
function compareWithEvent(line: { eventId: string; mcpId: string; interactionId: string }, encoded: string): string | undefined {
  let event: InteractionEvent;
  try {
    event = decodeEvent(Buffer.from(encoded, "base64"));
  } catch {
    return '"event" is not an encoded InteractionEvent'; // Becomes state: the caller names the line.
  }
  if (parseUuidV7(event.eventId) !== line.eventId) return `"event" has the event_id "${event.eventId.slice(0, 40)}", not that of "sent"`;
  if (event.interactionId !== line.interactionId) return '"event" belongs to another interaction than "interaction"';
  return event.mcpId === "" || event.mcpId === line.mcpId ? undefined : '"event" belongs to another MCP than "mcp"';
}
