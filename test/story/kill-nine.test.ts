import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  GetInteractionRequestSchema,
  InteractionService,
  VerifyEventsRequestSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { seededRng } from "../../src/platform/rng.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";

const rounds = Number(process.env.KILL_ROUNDS ?? 20);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const hasPostgres = findPostgres().kind === "found";
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each([
  { kind: "embedded", isThere: true },
  { kind: "postgres", isThere: hasPostgres },
])("kill -9 of a coordinator on the $kind store", ({ kind, isThere }) => {
  let postgres: RunningPostgres | undefined;
  let first: RunningCoordinator | undefined;
  let coordinator: RunningCoordinator | undefined;

  beforeAll(async () => {
    if (isThere && kind === "postgres") postgres = await startPostgres();
  });
  afterAll(async () => {
    await coordinator?.stop();
    await first?.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  it.runIf(isThere)(
    `loses no acknowledged event and stores none twice, ${rounds} times at random moments (SEED=${seed})`,
    { timeout: 1_200_000 },
    async () => {
      const rng = seededRng(seed);
      const where = postgres === undefined ? {} : { databaseUrl: postgres.url };
      first = await startCoordinatorProcess(where);
      const port = first.target.split(":")[1] ?? "";
      coordinator = first;
      const acked = new Set<string>();
      const sent = new Map<string, string>();
      const session = createStreamSession({
        endpoint: { target: `127.0.0.1:${port}`, key: undefined },
        mcpId: "demo",
        batchEvents: 8,
        onSettled: (settled) => {
          if (settled.verdict !== "rejected") acked.add(settled.eventId);
        },
      });
      let isReporting = true;
      const reporting = (async () => {
        for (let i = 0; isReporting; i += 1) {
          const eventId = mintUuidV7();
          const interactionId = `k-${Math.floor(i / 3)}`;
          const detail: EventInit["detail"] =
            i % 3 === 0
              ? { case: "start", value: {} }
              : i % 3 === 1
                ? { case: "progress", value: { fraction: 0.5 } }
                : { case: "complete", value: { processingTime: { seconds: 1n } } };
          const { mcpId: _, ...event } = makeEvent({ interactionId, eventId, detail });
          if (session.report(event) === undefined) {
            await session.whenWritable();
            i -= 1;
            continue;
          }
          sent.set(eventId, interactionId);
          if (i % 20 === 0) await sleep(1);
        }
      })();
      for (let round = 0; round < rounds; round += 1) {
        await sleep(50 + rng() * 400);
        coordinator.signal("SIGKILL");
        await coordinator.exited;
        coordinator = await startCoordinatorProcess({ ...where, dataDir: first.dataDir, flags: ["--grpc-port", port] });
      }
      isReporting = false;
      await reporting;
      expect(await session.flush()).toBe(true);
      await session.close();
      expect(session.counters.reconnects).toBeGreaterThanOrEqual(Math.min(rounds, 1));
      expect([...sent.keys()].filter((id) => !acked.has(id))).toEqual([]);
      const client = openGrpcClient(`127.0.0.1:${port}`);
      const ids = [...acked];
      const missing: string[] = [];
      for (let i = 0; i < ids.length; i += 1000) {
        const eventIds = ids.slice(i, i + 1000);
        const request = create(VerifyEventsRequestSchema, { mcpId: "demo", eventIds });
        const { response } = await callUnary(client, InteractionService.method.verifyEvents, request);
        expect(response?.acks).toHaveLength(eventIds.length);
        missing.push(...(response?.acks ?? []).filter((ack) => ack.status !== EventStatus.STORED).map((ack) => ack.eventId));
      }
      expect(missing).toEqual([]);
      const perInteraction = new Map<string, number>();
      for (const interactionId of sent.values()) perInteraction.set(interactionId, (perInteraction.get(interactionId) ?? 0) + 1);
      const wrong: string[] = [];
      for (const [interactionId, count] of [...perInteraction].filter(() => rng() < 0.2)) {
        const request = create(GetInteractionRequestSchema, { mcpId: "demo", interactionId });
        const { response } = await callUnary(client, InteractionService.method.getInteraction, request);
        if (response?.interaction?.eventCount !== count) wrong.push(interactionId);
      }
      expect(wrong).toEqual([]);
      client.close();
    },
  );
});
