import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  GetInteractionRequestSchema,
  InteractionService,
  ReportInteractionsRequestSchema,
  VerifyEventsRequestSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { ApplyStatus, type RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { GetRoutesRequestSchema, RoutingService } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { AckMode, Capability, DrainReason } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const hasPostgres = (await findPostgres()).kind === "found";
const allCapabilities = [Capability.HEARTBEAT, Capability.FLOW_CONTROL, Capability.ROUTING, Capability.DRAIN];

describe.each([
  { kind: "embedded", isThere: true },
  { kind: "postgres", isThere: hasPostgres },
])("a coordinator on the $kind store", ({ kind, isThere }) => {
  let postgres: RunningPostgres | undefined;
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;

  const start = () => startCoordinatorProcess(postgres === undefined ? {} : { databaseUrl: postgres.url });

  beforeAll(async () => {
    if (!isThere) return;
    if (kind === "postgres") postgres = await startPostgres();
    coordinator = await start();
    client = openGrpcClient(coordinator.target);
  });
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  const story = it.runIf(isThere);

  story("says which store it uses and what that promises", () => {
    expect(coordinator.storePromise).toMatch(kind === "postgres" ? /Postgres/i : /embedded/i);
    if (kind === "embedded") expect(coordinator.storePromise).toMatch(/power/i);
  });

  story("sends headers at once, acks a bare event after its commit, and ends with OK", async () => {
    const stream = new RawStream(client);
    expect((await stream.headers).get("x-coordinator-node")).toHaveLength(1);
    stream.send({ case: "event", value: makeEvent({ interactionId: "bare" }) });
    const [ack] = await stream.untilAcks(1);
    expect(ack).toMatchObject({ interactionId: "bare", status: EventStatus.STORED, retryable: false });
    const { response } = await callUnary(
      client,
      InteractionService.method.getInteraction,
      create(GetInteractionRequestSchema, { mcpId: "demo", interactionId: "bare", includeEvents: true }),
    );
    expect(response?.interaction).toMatchObject({ eventCount: 1, requestType: "search" });
    expect(response?.events[0]?.eventId).toBe(ack?.eventId);
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });

  story("welcomes a producer, resumes it by one number, and fences its older session", async () => {
    const producerId = `p-${mintUuidV7()}`;
    const hello = { mcpId: "demo", producerId, ackMode: AckMode.COALESCED, capabilities: allCapabilities };
    const first = new RawStream(client);
    first.send({ case: "hello", value: hello });
    const welcome = (await first.first("welcome")).value;
    expect(welcome).toMatchObject({ producerEpoch: 1n, resumeAfterSequence: 0n, resumeStatus: 1 });
    const events = Array.from({ length: 200 }, (_, i) =>
      makeEvent({ interactionId: `r-${i % 50}`, sequence: BigInt(i + 1), eventId: mintUuidV7() }),
    );
    first.send({ case: "eventBatch", value: { events } });
    await first.until((frames) => frames.find((frame) => frame.case === "eventAckBatch" && frame.value.resolvedThroughSequence === 200n));
    const second = new RawStream(client);
    second.send({ case: "hello", value: hello });
    expect((await second.first("welcome")).value).toMatchObject({ producerEpoch: 2n, resumeAfterSequence: 200n, resumeStatus: 2 });
    expect((await first.first("drainNotice")).value.reason).toBe(DrainReason.FENCED);
    expect((await first.ended).code).toBe(0);
    second.send({ case: "eventBatch", value: { events: events.slice(0, 10) } });
    const acks = await second.until((frames) => frames.find((frame) => frame.case === "eventAckBatch"));
    expect(acks.case === "eventAckBatch" && acks.value.ranges).toMatchObject([{ first: 1n, last: 10n, status: EventStatus.DUPLICATE }]);
    second.halfClose();
    expect((await second.ended).code).toBe(0);
  });

  story("keeps the resume point before an event that it refused for now, until that one is decided", async () => {
    const hello = { mcpId: "demo", producerId: `p-${mintUuidV7()}`, ackMode: AckMode.EACH, capabilities: allCapabilities };
    const open = async () => {
      const stream = new RawStream(client);
      stream.send({ case: "hello", value: hello });
      return { stream, resumeAfter: (await stream.first("welcome")).value.resumeAfterSequence };
    };
    const event = (sequence: bigint, aheadMs = 0) =>
      makeEvent({ interactionId: `s-${sequence}`, sequence, eventId: mintUuidV7(), occurredAt: timestampFromMs(Date.now() + aheadMs) });
    const first = await open();
    first.stream.send({ case: "eventBatch", value: { events: [event(1n), event(2n, 3_600_000), event(3n)] } });
    const acks = await first.stream.untilAcks(3);
    expect(acks.map(({ sequence, status, retryable }) => [sequence, status, retryable]).sort()).toEqual([
      [1n, EventStatus.STORED, false],
      [2n, EventStatus.CLOCK_SKEW, true],
      [3n, EventStatus.STORED, false],
    ]);
    // Its verdict may never have arrived: a client that is told 3 would take it for stored.
    const second = await open();
    expect(second.resumeAfter).toBe(1n);
    second.stream.send({ case: "eventBatch", value: { events: [event(2n), event(4n)] } });
    await second.stream.untilAcks(2);
    const third = await open();
    expect(third.resumeAfter).toBe(4n);
    third.stream.halfClose();
    await third.stream.ended;
  });

  story("stores an event without an id once, however often the same bytes come", async () => {
    const event = makeEvent({ interactionId: "again" });
    const stream = new RawStream(client);
    for (let i = 0; i < 3; i += 1) stream.send({ case: "event", value: event });
    const acks = await stream.untilAcks(3);
    expect(acks.map((ack) => ack.status)).toEqual([EventStatus.STORED, EventStatus.DUPLICATE, EventStatus.DUPLICATE]);
    expect(new Set(acks.map((ack) => ack.eventId)).size).toBe(1);
    stream.halfClose();
    await stream.ended;
  });

  story("calls the same id with other content a conflict, and keeps the first", async () => {
    const eventId = mintUuidV7();
    const stream = new RawStream(client);
    stream.send({ case: "event", value: makeEvent({ interactionId: "c", eventId }) });
    await stream.untilAcks(1);
    stream.send({ case: "event", value: makeEvent({ interactionId: "c", eventId, sessionId: "other" }) });
    expect((await stream.untilAcks(2))[1]).toMatchObject({ status: EventStatus.CONFLICT, retryable: false });
    stream.halfClose();
    await stream.ended;
  });

  story("answers a unary batch with the same verdicts, and verifies what it stored", async () => {
    const good = Array.from({ length: 20 }, (_, i) => makeEvent({ interactionId: `u-${i}`, eventId: mintUuidV7() }));
    const events = [...good.slice(0, 7), makeEvent({ interactionId: "" }), ...good.slice(7)];
    const { response } = await callUnary(
      client,
      InteractionService.method.reportInteractions,
      create(ReportInteractionsRequestSchema, { events }),
    );
    expect(response?.acks).toHaveLength(21);
    expect(response?.acks.filter((ack) => ack.status === EventStatus.STORED)).toHaveLength(20);
    expect(response?.acks[7]).toMatchObject({ status: EventStatus.INVALID, violations: [{ field: "interaction_id", reason: "REQUIRED" }] });
    const unknown = mintUuidV7();
    const changed = { ...good[0], sessionId: "changed" };
    const verified = await callUnary(
      client,
      InteractionService.method.verifyEvents,
      create(VerifyEventsRequestSchema, { mcpId: "demo", eventIds: [good[0]?.eventId ?? "", unknown], events: [good[1] ?? {}, changed] }),
    );
    expect(verified.response?.acks.map((ack) => ack.status)).toEqual([
      EventStatus.STORED,
      EventStatus.NOT_FOUND,
      EventStatus.STORED,
      EventStatus.CONFLICT,
    ]);
  });

  story("tallies the interactions it is asked for, in their order, and refuses more than a thousand", async () => {
    const events = [
      makeEvent({ interactionId: "t-1" }),
      makeEvent({ interactionId: "t-2" }),
      makeEvent({ interactionId: "t-2", sessionId: "s" }),
    ];
    await callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema, { events }));
    const tally = (interactionIds: readonly string[], mcpId = "demo") =>
      callUnary(
        client,
        InteractionService.method.verifyEvents,
        create(VerifyEventsRequestSchema, { mcpId, interactionIds: [...interactionIds] }),
      );
    const { response } = await tally(["t-2", "t-0", "t-1"]);
    expect(response?.interactions).toMatchObject([
      { interactionId: "t-2", storedEvents: 2, mergedEvents: 2 },
      { interactionId: "t-0", storedEvents: 0, mergedEvents: 0 },
      { interactionId: "t-1", storedEvents: 1, mergedEvents: 1 },
    ]);
    expect((await tally(Array.from({ length: 1_001 }, (_, i) => `t-${i}`))).end.code).toBe(status.INVALID_ARGUMENT);
    expect((await tally(["t-1"], "")).end.code).toBe(status.INVALID_ARGUMENT);
  });

  story("judges without storing when asked to validate only", async () => {
    const eventId = mintUuidV7();
    const request = create(ReportInteractionsRequestSchema, {
      events: [makeEvent({ eventId }), makeEvent({ interactionId: "" })],
      validateOnly: true,
    });
    const { response } = await callUnary(client, InteractionService.method.reportInteractions, request);
    expect(response?.acks.map((ack) => ack.status)).toEqual([EventStatus.STORED, EventStatus.INVALID]);
    const verified = await callUnary(
      client,
      InteractionService.method.verifyEvents,
      create(VerifyEventsRequestSchema, { mcpId: "demo", eventIds: [eventId] }),
    );
    expect(verified.response?.acks[0]?.status).toBe(EventStatus.NOT_FOUND);
  });

  story("merges a shuffled interaction into the right end", async () => {
    const seconds = BigInt(Math.floor(Date.now() / 1000) - 10);
    const at = (ms: number) => ({ seconds, nanos: ms * 1_000_000 });
    const events = [
      makeEvent({
        interactionId: "m",
        occurredAt: at(3),
        detail: { case: "complete", value: { success: false, processingTime: { seconds: 2n } } },
      }),
      makeEvent({ interactionId: "m", occurredAt: at(2), detail: { case: "progress", value: { fraction: 0.5 } } }),
      makeEvent({ interactionId: "m", occurredAt: at(1) }),
    ];
    for (const event of events) {
      await callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema, { events: [event] }));
    }
    const { response } = await callUnary(
      client,
      InteractionService.method.getInteraction,
      create(GetInteractionRequestSchema, { mcpId: "demo", interactionId: "m" }),
    );
    expect(response?.interaction).toMatchObject({
      state: 4,
      eventCount: 3,
      success: false,
      missingStart: false,
      processingTime: { seconds: 2n },
      startedAt: at(1),
      endedAt: at(3),
    });
  });

  story("answers heartbeats, and counts what it does", async () => {
    const stream = new RawStream(client);
    stream.send({ case: "hello", value: { mcpId: "demo", capabilities: allCapabilities } });
    await stream.first("welcome");
    stream.send({ case: "heartbeat", value: { id: 5n } });
    expect((await stream.first("heartbeatAck")).value.id).toBe(5n);
    const figures = async () =>
      (await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema))).response?.coordinator;
    await expect.poll(async () => (await figures())?.openStreams).toBe(1); // those that were fenced before end when they do
    expect((await figures())?.events.find((count) => count.status === EventStatus.CONFLICT)?.count).toBe(1n);
    stream.halfClose();
    await stream.ended;
  });

  story("publishes weights to sessions that want them, and takes their acks", async () => {
    const stream = new RawStream(client);
    const producerId = `w-${mintUuidV7()}`;
    stream.send({ case: "hello", value: { mcpId: "demo", producerId, capabilities: allCapabilities } });
    const welcome = (await stream.first("welcome")).value;
    const ack = ({ nonce, term, version, digest }: RoutingUpdate) =>
      stream.send({ case: "routingAck", value: { nonce, status: ApplyStatus.APPLIED, applied: { term, version, digest } } });
    // The first table of a coordinator is empty; the next comes with the first MCP, once this one is acked.
    if (welcome.routing !== undefined) ack(welcome.routing);
    const update = await stream.until((frames) =>
      [welcome.routing, ...frames.map((frame) => (frame.case === "routingUpdate" ? frame.value : undefined))].find(
        (table) => table?.body.case === "full" && table.body.value.routes.length > 0,
      ),
    );
    expect(update.body.case === "full" && update.body.value.routes.reduce((sum, route) => sum + route.weight, 0)).toBe(10_000);
    ack(update);
    const acked = () => callUnary(client, RoutingService.method.getRoutes, create(GetRoutesRequestSchema, { includeApplied: true }));
    while (!(await acked()).response?.applied.some((one) => one.producerId === producerId && one.applied?.version === update.version)) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    stream.send({ case: "heartbeat", value: { id: 1n } });
    const beat = (await stream.first("heartbeatAck")).value;
    expect(beat.routingVersion >= update.version).toBe(true);
    stream.halfClose();
    await stream.ended;
  });

  story("drains on SIGTERM: notice, acks, OK, exit 0; and the next one finds everything", async () => {
    const own = await startCoordinatorProcess(
      postgres === undefined ? { dataDir: `${coordinator.dataDir}-drain` } : { databaseUrl: postgres.url },
    );
    const ownClient = openGrpcClient(own.target);
    const polite = new RawStream(ownClient);
    polite.send({ case: "hello", value: { mcpId: "demo", producerId: `d-${mintUuidV7()}`, capabilities: allCapabilities } });
    await polite.first("welcome");
    const plain = new RawStream(ownClient);
    plain.send({ case: "event", value: makeEvent({ interactionId: "plain" }) });
    await plain.untilAcks(1);
    own.signal("SIGTERM");
    expect((await polite.first("drainNotice")).value).toMatchObject({ reason: DrainReason.SHUTDOWN, newConnection: true });
    expect((await plain.ended).code).toBe(0);
    polite.send({ case: "event", value: makeEvent({ interactionId: "late", sequence: 1n }) });
    polite.halfClose();
    expect((await polite.untilAcks(1))[0]).toMatchObject({ status: EventStatus.STORED });
    expect((await polite.ended).code).toBe(0);
    expect(await own.exited).toBe(0);
    ownClient.close();
    await own.stop();
  });

  story("ends at once on a second SIGTERM", async () => {
    const own = await startCoordinatorProcess(
      postgres === undefined ? { dataDir: `${coordinator.dataDir}-fast` } : { databaseUrl: postgres.url },
    );
    const ownClient = openGrpcClient(own.target);
    const stream = new RawStream(ownClient);
    stream.send({ case: "hello", value: { mcpId: "demo", capabilities: allCapabilities } });
    await stream.first("welcome");
    own.signal("SIGTERM");
    await stream.first("drainNotice");
    own.signal("SIGTERM");
    expect(await own.exited).toBe(0);
    expect((await stream.ended).code).not.toBe(0);
    ownClient.close();
    await own.stop();
  });
});
