import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { InteractionService, VerifyEventsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { AckMode, Capability, DrainReason } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Settled } from "../../src/client/options.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { type Clock, systemClock } from "../../src/platform/clock.js";
import { limits } from "../../src/platform/limits.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const skip = postgresSkipReason();
const story = skip === undefined ? it : (name: string, _: () => Promise<void>) => it.skip(`${name} (${skip})`, () => {});

describe("two coordinators on one Postgres", () => {
  let postgres: RunningPostgres;
  let coordinators: readonly RunningCoordinator[] = [];
  let clients: readonly ReturnType<typeof openGrpcClient>[] = [];

  beforeAll(async () => {
    if (skip !== undefined) return;
    postgres = await startPostgres();
    const first = await startCoordinatorProcess({ databaseUrl: postgres.url });
    coordinators = [first, await startCoordinatorProcess({ databaseUrl: postgres.url })];
    clients = coordinators.map(({ target }) => openGrpcClient(target));
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    for (const coordinator of coordinators) await coordinator.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  const openOn = async (index: number, producerId: string) => {
    const client = clients[index];
    if (client === undefined) throw new Error("no such coordinator");
    const stream = new RawStream(client);
    const capabilities = [Capability.DRAIN, Capability.FLOW_CONTROL];
    stream.send({ case: "hello", value: { mcpId: "demo", producerId, capabilities, ackMode: AckMode.EACH } });
    return { stream, welcome: (await stream.first("welcome")).value };
  };
  const statusesOf = async (eventIds: string[]) => {
    const client = clients[0];
    if (client === undefined) throw new Error("no coordinator");
    const request = create(VerifyEventsRequestSchema, { mcpId: "demo", eventIds });
    const { response } = await callUnary(client, InteractionService.method.verifyEvents, request);
    return response?.acks.map((ack) => ack.status);
  };

  /** An older session that stores one event and sends another when a newer one has begun. When the check of its coordinator comes in between, it has ended: then again. */
  const overtaken = async () => {
    for (;;) {
      const producerId = `p-${mintUuidV7()}`;
      const [kept, late] = [mintUuidV7(), mintUuidV7()];
      const older = await openOn(0, producerId);
      older.stream.send({ case: "event", value: makeEvent({ eventId: kept, sequence: 1n }) });
      await older.stream.untilAcks(1);
      const newer = await openOn(1, producerId);
      older.stream.send({ case: "event", value: makeEvent({ eventId: late, sequence: 2n }) });
      const acks = await older.stream.untilAcks(2).catch(() => undefined);
      if (acks !== undefined) return { older, newer, kept, late, verdict: acks[1] };
      newer.stream.cancel();
    }
  };

  story("the older session stores nothing more: its event gets FENCED, the notice comes, the stream ends with OK", async () => {
    const { older, newer, kept, late, verdict } = await overtaken();
    const taken = mintUuidV7();
    expect(newer.welcome).toMatchObject({ producerEpoch: older.welcome.producerEpoch + 1n, resumeAfterSequence: 1n });
    expect(verdict).toMatchObject({ eventId: late, status: EventStatus.FENCED, retryable: false });
    expect((await older.stream.first("drainNotice")).value).toMatchObject({ reason: DrainReason.FENCED, newConnection: false });
    expect((await older.stream.ended).code).toBe(0);
    newer.stream.send({ case: "event", value: makeEvent({ eventId: taken, sequence: 2n }) });
    expect((await newer.stream.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    expect(await statusesOf([kept, late, taken])).toEqual([EventStatus.STORED, EventStatus.NOT_FOUND, EventStatus.STORED]);
    newer.stream.halfClose();
    await newer.stream.ended;
  });

  story("an older session that sends nothing is found within the period of the check, and ends with OK", async () => {
    const producerId = `p-${mintUuidV7()}`;
    const older = await openOn(0, producerId);
    const newer = await openOn(1, producerId);
    expect((await older.stream.first("drainNotice")).value.reason).toBe(DrainReason.FENCED);
    expect((await older.stream.ended).code).toBe(0);
    expect(newer.stream.frames.some((frame) => frame.case === "drainNotice")).toBe(false);
    newer.stream.halfClose();
    expect((await newer.stream.ended).code).toBe(0);
  });

  story("two processes with one producer_id take turns at a slow pace, and every event of both is stored once", async () => {
    const producerId = `twins-${mintUuidV7()}`;
    // Half a minute of waiting passes in a second; everything shorter takes its time.
    const after: Clock["after"] = (ms, task) => systemClock.after(ms >= limits.fencedBackoff.floorMs ? ms / 30 : ms, task);
    const settled: Settled[] = [];
    const waits: number[] = [];
    const twins = coordinators.map(({ target }) =>
      createStreamSession({
        endpoint: { target, key: undefined },
        mcpId: "demo",
        producerId,
        clock: { ...systemClock, after },
        onSettled: (one) => settled.push(one),
        onState: (state) => {
          if (state.kind === "disconnected" && state.isFenced) waits.push(state.fenceCount);
        },
      }),
    );
    const ids: string[] = [];
    const startedAtMs = performance.now();
    for (let round = 0; round < 5; round += 1) {
      for (const twin of twins) {
        for (let i = 0; i < 20; i += 1) ids.push(twin.report(makeEvent({ interactionId: `twin-${round}` })) ?? "full");
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    for (const twin of twins) expect(await twin.flush()).toBe(true);
    const takeovers = twins.reduce((sum, twin) => sum + twin.counters.reconnects, 0);
    for (const twin of twins) await twin.close();
    expect(waits.length).toBeGreaterThan(0);
    // Each waits a second at least before it takes its place back; a pair that came back at once would have traded places hundreds of times.
    const paceMs = limits.fencedBackoff.floorMs / 30;
    expect(takeovers).toBeLessThan(twins.length * (2 + (performance.now() - startedAtMs) / paceMs));
    expect(settled.map((one) => one.eventId).sort()).toEqual([...ids].sort());
    expect(settled.filter((one) => one.verdict === "rejected")).toEqual([]);
    expect(new Set(await statusesOf(ids))).toEqual(new Set([EventStatus.STORED]));
  });
});
