import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type EventAck, type InteractionEvent, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  type GetInteractionRequest,
  type GetInteractionResponse,
  GetInteractionResponseSchema,
  type InteractionService,
  type InteractionTallySchema,
  type ReportInteractionsRequest,
  type ReportInteractionsResponse,
  ReportInteractionsResponseSchema,
  type VerifyEventsRequest,
  type VerifyEventsResponse,
  VerifyEventsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { boundMcpId, scopeTo } from "../auth/principal.js";
import type { Bearer } from "../ingest/accept.js";
import type { Ingest } from "../ingest/ingest.js";
import { reportOnce } from "../ingest/report.js";
import { createVerdict, type Verdict } from "../ingest/verdict.js";
import type { NewEvent } from "../interaction/event.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import type { Store, StoredEvent, StoredEventRef } from "../store/store.js";
import { ackToProto } from "../wire/ack.js";
import { draftFromProto } from "../wire/event.js";
import { interactionToProto } from "../wire/interaction.js";
import { storedEventToProto } from "../wire/stored-event.js";
import type { Handlers } from "./adapt-grpc.js";
import type { CallContext } from "./context.js";
import { faultsOfText, fieldsError, refuseFaults } from "./field-faults.js";
import { pageOf } from "./page-bytes.js";
import { formatEventsToken, parseEventsToken } from "./page-token.js";

export type InteractionDeps = {
  readonly ingest: Ingest;
  readonly clock: Clock;
  readonly store: Pick<Store, "findEvents" | "tallyInteractions" | "readProducer" | "readInteraction" | "readEvents">;
};

/** The unary RPCs of InteractionService. */
export function createInteractionHandlers(deps: InteractionDeps): Handlers<typeof InteractionService> {
  return {
    reportInteractions: (request, context) => reportInteractions(deps, request, context),
    verifyEvents: (request, context) => verifyEvents(deps, request, context),
    getInteraction: (request, context) => getInteraction(deps, request, context),
  };
}

async function reportInteractions(
  deps: InteractionDeps,
  request: ReportInteractionsRequest,
  context: CallContext,
): Promise<ReportInteractionsResponse> {
  const count = request.events.length;
  const faults: FieldFault[] = [];
  if (count === 0) faults.push({ field: "events", reason: "REQUIRED", description: "at least one event" });
  refuseFaults([...faults, ...faultsOfText("mcp_id", request.mcpId), ...faultsOfText("producer_id", request.producerId)]);
  if (count > limits.batchMaxEvents) {
    const message = `${count} events in one call; at most ${limits.batchMaxEvents} are allowed`;
    throw new CoordinatorError("invalid", message, { reason: "TOO_MANY_EVENTS" });
  }
  const bearer = bearerOf(context, request.mcpId, request.producerId);
  const judged = request.events.map((event) => deps.ingest.accept(bearer, draftFromProto(event, encodedBytesOf(event))));
  const verdicts = request.validateOnly
    ? judged.map((one) => (one.kind === "refused" ? one.verdict : createVerdict(one.event, "stored")))
    : await reportOnce(deps.ingest, deps.clock, judged, { signal: context.signal, timeoutMs: context.timeoutMs });
  return create(ReportInteractionsResponseSchema, { acks: verdicts.map(ackToProto) });
}

async function verifyEvents(deps: InteractionDeps, request: VerifyEventsRequest, context: CallContext): Promise<VerifyEventsResponse> {
  const count = request.eventIds.length + request.events.length;
  if (count > limits.verifyMaxCount) {
    const message = `${count} events in one call; at most ${limits.verifyMaxCount} are allowed`;
    throw new CoordinatorError("invalid", message, { reason: "TOO_MANY_EVENTS" });
  }
  if (request.interactionIds.length > limits.verifyMaxCount) {
    const message = `${request.interactionIds.length} interactions in one call; at most ${limits.verifyMaxCount} are allowed`;
    throw new CoordinatorError("invalid", message, { reason: "TOO_MANY_EVENTS" });
  }
  refuseFaults([
    ...faultsOfText("mcp_id", request.mcpId),
    ...faultsOfText("producer_id", request.producerId),
    ...request.interactionIds.flatMap((id, i) => faultsOfText(`interaction_ids[${i}]`, id)).slice(0, limits.violationMaxCount),
  ]);
  const mcpId = scopeTo(context.principal, request.mcpId) ?? "";
  if (request.eventIds.length + request.interactionIds.length > 0 && mcpId === "") {
    throw fieldsError([{ field: "mcp_id", reason: "REQUIRED", description: "must name the MCP of event_ids and interaction_ids" }]);
  }
  const bearer = bearerOf(context, mcpId, "");
  const judged = request.events.map((event) => deps.ingest.compare(bearer, draftFromProto(event, encodedBytesOf(event))));
  const ids = request.eventIds.map((id) => parseUuidV7(id));
  const stored = await findStored(
    deps,
    mcpId,
    ids,
    judged.flatMap((one) => (one.kind === "accepted" ? [one.event] : [])),
    context.signal,
  );
  const acks: EventAck[] = [
    ...request.eventIds.map((text, i) => ackToProto(verifyId(text, stored.get(keyOf(mcpId, ids[i] ?? ""))))),
    ...judged.map((one) => ackToProto(one.kind === "refused" ? one.verdict : verifyEvent(one.event, stored))),
  ];
  const resumeAfter =
    request.producerId === "" ? undefined : await deps.store.readProducer(request.producerId, boundMcpId(context.principal));
  const interactions = await tallyInteractions(deps, mcpId, request.interactionIds, context.signal);
  return create(VerifyEventsResponseSchema, { acks, resumeAfterSequence: resumeAfter ?? 0n, interactions });
}

async function tallyInteractions(
  deps: InteractionDeps,
  mcpId: string,
  interactionIds: readonly string[],
  signal: AbortSignal,
): Promise<MessageInitShape<typeof InteractionTallySchema>[]> {
  const found = await deps.store.tallyInteractions(mcpId, interactionIds, signal);
  const tallies = new Map(found.map((tally) => [tally.interactionId, tally]));
  return interactionIds.map((interactionId) => tallies.get(interactionId) ?? { interactionId });
}

async function findStored(
  deps: InteractionDeps,
  mcpId: string,
  ids: readonly (string | undefined)[],
  events: readonly NewEvent[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, StoredEventRef>> {
  const wanted = new Map<string, string[]>();
  const want = (owner: string, id: string) => {
    const known = wanted.get(owner);
    if (known === undefined) wanted.set(owner, [id]);
    else known.push(id);
  };
  for (const id of ids) if (id !== undefined) want(mcpId, id);
  for (const event of events) want(event.mcpId, event.eventId);
  const found = new Map<string, StoredEventRef>();
  for (const [owner, ownIds] of wanted) {
    for (const ref of await deps.store.findEvents(owner, ownIds, signal)) found.set(keyOf(owner, ref.eventId), ref);
  }
  return found;
}

const keyOf = (mcpId: string, eventId: string): string => `${eventId}${mcpId}`;

function verifyId(text: string, stored: StoredEventRef | undefined): Verdict {
  const subject = { eventId: text, sequence: 0n, interactionId: "" };
  return stored === undefined ? createVerdict(subject, "not_found") : createVerdict(subject, "stored", { storedAtMs: stored.storedAtMs });
}

function verifyEvent(event: NewEvent, stored: ReadonlyMap<string, StoredEventRef>): Verdict {
  const ref = stored.get(keyOf(event.mcpId, event.eventId));
  if (ref === undefined) return createVerdict(event, "not_found");
  if (ref.digest !== event.digest) return createVerdict(event, "conflict");
  return createVerdict(event, "stored", { storedAtMs: ref.storedAtMs });
}

async function getInteraction(
  deps: InteractionDeps,
  request: GetInteractionRequest,
  context: CallContext,
): Promise<GetInteractionResponse> {
  const mcpId = scopeTo(context.principal, request.mcpId) ?? "";
  const faults: FieldFault[] = [];
  if (mcpId === "") faults.push({ field: "mcp_id", reason: "REQUIRED", description: "must not be empty" });
  if (request.interactionId === "") faults.push({ field: "interaction_id", reason: "REQUIRED", description: "must not be empty" });
  refuseFaults([...faults, ...faultsOfText("mcp_id", mcpId), ...faultsOfText("interaction_id", request.interactionId)]);
  const afterId = parseEventsToken(mcpId, request.interactionId, request.pageToken);
  const interaction = await deps.store.readInteraction(mcpId, request.interactionId, context.signal);
  if (interaction === undefined) {
    throw new CoordinatorError("not_found", "no event of this interaction is stored", { reason: "INTERACTION_NOT_FOUND" });
  }
  const stored = request.includeEvents
    ? await deps.store.readEvents(mcpId, request.interactionId, { maxCount: limits.pageMaxCount, afterId }, context.signal)
    : { events: [], hasMore: false };
  const page = pageOf(InteractionEventSchema, messagesOf(stored.events));
  const last = stored.hasMore || page.length < stored.events.length ? page.at(-1) : undefined;
  return create(GetInteractionResponseSchema, {
    interaction: interactionToProto(interaction),
    events: [...page],
    nextPageToken: last === undefined ? "" : formatEventsToken(mcpId, request.interactionId, last.eventId),
  });
}

/** Made one by one, as they are asked for. */
function* messagesOf(events: readonly StoredEvent[]): Generator<InteractionEvent> {
  for (const event of events) yield storedEventToProto(event);
}

function bearerOf(context: CallContext, mcpId: string, producerId: string): Bearer {
  const { principal } = context;
  return { principal, mcpId: mcpId === "" ? (boundMcpId(principal) ?? "") : mcpId, producerId, epoch: 0, labels: {}, source: "grpc" };
}

function encodedBytesOf(event: InteractionEvent): number {
  return toBinary(InteractionEventSchema, event).byteLength;
}
