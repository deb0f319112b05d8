import { create } from "@bufbuild/protobuf";
import { EventStatus, type Interaction, InteractionState } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { InteractionService, VerifyEventsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { ListInteractionsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { limits } from "../platform/limits.js";
import type { Connection } from "./connect.js";
import { decodeEvent } from "./wire/frames.js";

/** What the store holds under the id of an event: this content, another, or nothing. */
export type StoredAs = "equal" | "other" | "nothing";

/**
 * Compares encoded events with what is stored under their ids.
 * Shape: one answer per event, in order. Bound: `limits.batchMaxEvents` events, all of `mcpId`.     Errors: rejects with grpc-js's ServiceError.
 */
export async function verifyEvents(
  connection: Connection,
  mcpId: string,
  encoded: readonly Uint8Array[],
  deadlineMs: number,
): Promise<readonly StoredAs[]> {
  const request = create(VerifyEventsRequestSchema, { mcpId, events: encoded.map(decodeEvent) });
  const { acks } = await connection.call(InteractionService.method.verifyEvents, request, deadlineMs);
  return encoded.map((_, index) => {
    const status = acks[index]?.status;
    if (status === EventStatus.STORED) return "equal";
    return status === EventStatus.CONFLICT ? "other" : "nothing";
  });
}

/** What the store says about an event: this content, another, nothing, or that the coordinator cannot judge it (it breaks a rule of this version). */
export type LookedUp = StoredAs | "unjudged";

/** Events of one MCP to look up, and interactions of it to tally. An event without `encoded` is looked for by its id only. */
export type LookUp = {
  readonly mcpId: string;
  readonly events: readonly { readonly eventId: string; readonly encoded: Uint8Array | undefined }[];
  readonly interactionIds: readonly string[];
};

/** Events of one interaction in the log, and as the merged interaction counts them. */
export type Tally = { readonly storedEvents: number; readonly mergedEvents: number };

/** Answers in the order of the events. `tallies` by interaction; undefined from a coordinator that does not count. */
export type LookedUpPage = { readonly events: readonly LookedUp[]; readonly tallies: ReadonlyMap<string, Tally> | undefined };

/**
 * Asks the store about one page in one call.
 * Bound: `limits.verifyMaxCount` events and as many interactions; `limits.frameMaxBytes` encoded.     Errors: rejects with grpc-js's ServiceError.
 */
export async function lookUp(connection: Connection, page: LookUp, deadlineMs: number): Promise<LookedUpPage> {
  const { mcpId, interactionIds } = page;
  const byId = page.events.filter(({ encoded }) => encoded === undefined);
  const whole = page.events.flatMap(({ encoded }) => (encoded === undefined ? [] : [encoded]));
  const request = create(VerifyEventsRequestSchema, {
    mcpId,
    eventIds: byId.map(({ eventId }) => eventId),
    events: whole.map(decodeEvent),
    interactionIds: [...interactionIds],
  });
  const { acks, interactions } = await connection.call(InteractionService.method.verifyEvents, request, deadlineMs);
  let nextById = 0;
  let nextWhole = byId.length;
  const events = page.events.map(({ encoded }) => lookedUpOf(acks[encoded === undefined ? nextById++ : nextWhole++]?.status));
  const doesTally = interactions.length === interactionIds.length;
  return { events, tallies: doesTally ? new Map(interactions.map((tally) => [tally.interactionId, tally])) : undefined };
}

function lookedUpOf(status: EventStatus | undefined): LookedUp {
  switch (status) {
    case EventStatus.STORED:
      return "equal";
    case EventStatus.CONFLICT:
      return "other";
    case EventStatus.NOT_FOUND:
      return "nothing";
    default:
      return "unjudged";
  }
}

/** The end of an interaction as the store has merged it. */
export type MergedEnd = { readonly eventCount: number; readonly end: "completed" | "failed" | "none" };

/**
 * The merged ends of some interactions of one MCP, by interaction id; those that are not stored are missing.
 * Reads pages of the MCP's interactions, newest first, until all are found or there are no more.     Errors: rejects with grpc-js's ServiceError.
 */
export async function readEnds(
  connection: Connection,
  mcpId: string,
  interactionIds: ReadonlySet<string>,
  deadlineMs: number,
): Promise<ReadonlyMap<string, MergedEnd>> {
  const found = new Map<string, MergedEnd>();
  let pageToken = "";
  do {
    const request = create(ListInteractionsRequestSchema, { mcpId, pageSize: limits.pageMaxCount, pageToken });
    const page = await connection.call(QueryService.method.listInteractions, request, deadlineMs);
    for (const interaction of page.interactions) {
      if (interactionIds.has(interaction.interactionId)) found.set(interaction.interactionId, endOf(interaction));
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && found.size < interactionIds.size);
  return found;
}

function endOf({ eventCount, state }: Interaction): MergedEnd {
  if (state === InteractionState.COMPLETED) return { eventCount, end: "completed" };
  return { eventCount, end: state === InteractionState.FAILED ? "failed" : "none" };
}
