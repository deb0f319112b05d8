import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Health, HealthCheckRequestSchema, HealthCheckResponse_ServingStatus as Serving } from "../../gen/grpc/health/v1/health_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { InteractionService, ReportInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { AckMode, Capability, Pressure } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const hasPostgres = findPostgres().kind === "found";
const story = it.runIf(hasPostgres);

/** Asks again until it is so; bounded by the test's own timeout. */
async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 100));
}

describe("an outage of Postgres", () => {
  let postgres: RunningPostgres;
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;

  beforeAll(async () => {
    if (!hasPostgres) return;
    postgres = await startPostgres();
    coordinator = await startCoordinatorProcess({ databaseUrl: postgres.url });
    client = openGrpcClient(coordinator.target);
  });
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  const servingOf = async (service: string) =>
    (await callUnary(client, Health.method.check, create(HealthCheckRequestSchema, { service }))).response?.status;

  story("keeps events, acks nothing, says so to those who listen, and goes on by itself", async () => {
    const producerId = `o-${mintUuidV7()}`;
    const stream = new RawStream(client);
    const capabilities = [Capability.FLOW_CONTROL];
    stream.send({ case: "hello", value: { mcpId: "demo", producerId, ackMode: AckMode.COALESCED, capabilities } });
    await stream.first("welcome");
    await postgres.stopImmediate();
    for (let i = 1; i <= 300; i += 1) {
      stream.send({ case: "event", value: makeEvent({ interactionId: `o-${i}`, sequence: BigInt(i), eventId: mintUuidV7() }) });
    }
    await stream.until((frames) =>
      frames.find((frame) => frame.case === "flowControl" && frame.value.pressure === Pressure.STORAGE_UNAVAILABLE),
    );
    const one = create(ReportInteractionsRequestSchema, { events: [makeEvent({ interactionId: "unary", eventId: mintUuidV7() })] });
    const { response } = await callUnary(client, InteractionService.method.reportInteractions, one);
    expect(response?.acks[0]).toMatchObject({ status: EventStatus.UNAVAILABLE, retryable: true });
    await eventually(async () => (await servingOf(InteractionService.typeName)) === Serving.NOT_SERVING);
    expect(await servingOf("mcp.coordinator.v1.RoutingService")).toBe(Serving.SERVING);
    const health = await fetch(`${coordinator.webUrl}/health`);
    expect([health.status, ((await health.json()) as { status: string }).status]).toEqual([503, "degraded"]); // the shape is what is tested
    expect(stream.frames.some((frame) => frame.case === "eventAckBatch")).toBe(false);
    await postgres.start();
    await stream.until((frames) => frames.find((frame) => frame.case === "eventAckBatch" && frame.value.resolvedThroughSequence === 300n));
    const statuses = stream.frames.flatMap((frame) =>
      frame.case === "eventAckBatch" ? frame.value.ranges.map((range) => range.status) : [],
    );
    // What was committed when the answer was lost is a duplicate when it is tried again.
    expect([EventStatus.STORED, EventStatus.DUPLICATE]).toEqual(expect.arrayContaining([...new Set(statuses)]));
    await eventually(async () => (await servingOf(InteractionService.typeName)) === Serving.SERVING);
    expect((await callUnary(client, InteractionService.method.reportInteractions, one)).response?.acks[0]?.status).toBe(
      EventStatus.DUPLICATE,
    );
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });

  story("at the start is a clear error, without the password, and exit 5", async () => {
    const ran = await runCli(["serve", "--grpc-port", "0", "--web-port", "0", "--database-url", "postgres://mcp:s3cret@127.0.0.1:1/mcp"]);
    expect(ran.code).toBe(5);
    expect(ran.stderr).toMatch(/127\.0\.0\.1:1/);
    expect(ran.stderr).not.toContain("s3cret");
  });

  story("does not hold up a drain: what is not committed is left to the next coordinator", async () => {
    const own = await startCoordinatorProcess({ databaseUrl: postgres.url, env: { MCPC_SERVER__DRAIN_SECONDS: "2" } });
    const ownClient = openGrpcClient(own.target);
    const stream = new RawStream(ownClient);
    stream.send({ case: "event", value: makeEvent({ interactionId: "before" }) });
    await stream.untilAcks(1);
    await postgres.stopImmediate();
    stream.send({ case: "event", value: makeEvent({ interactionId: "during" }) });
    own.signal("SIGTERM");
    expect(await own.exited).toBe(0);
    expect((await stream.ended).code).toBe(0);
    expect(stream.acks).toHaveLength(1);
    await postgres.start();
    ownClient.close();
    await own.stop();
  });
});
