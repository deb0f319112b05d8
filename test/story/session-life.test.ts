import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema, QuotaFailureSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { Capability, DrainReason } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { type CallEnd, callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const keys = {
  fleet: "key-of-the-fleet-0001",
  next: "key-of-the-fleet-0002",
  brief: "key-of-the-fleet-0003",
  small: "key-of-a-small-one-04",
};
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

function configOf(heartbeatSeconds: number): string {
  const session = `[session]\nheartbeat_interval_seconds = ${heartbeatSeconds}\nmax_age_seconds = 10\nmax_per_key = 8\n`;
  const tables = Object.entries(keys).map(([id, key]) => {
    const sha256 = createHash("sha256").update(key).digest("hex");
    return `[[auth.keys]]\nid = "${id}"\nmcp_id = "${id === "small" ? "small" : "demo"}"\nsha256 = "${sha256}"\n`;
  });
  return session + tables.join("");
}

const detailsOf = (end: CallEnd) => ({
  reason: end.status?.details.map((any) => anyUnpack(any, ErrorInfoSchema)?.reason).find((reason) => reason !== undefined),
  quota: end.status?.details.map((any) => anyUnpack(any, QuotaFailureSchema)).find((quota) => quota !== undefined)?.violations[0],
  retry: end.status?.details.some((any) => anyUnpack(any, RetryInfoSchema) !== undefined),
});

describe("the life of a session", () => {
  let scratch = "";
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;
  const writeConfig = (heartbeatSeconds: number) => writeFile(join(scratch, "c.toml"), configOf(heartbeatSeconds));

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "mcpc-life-"));
    await writeConfig(15);
    coordinator = await startCoordinatorProcess({ flags: ["--config", join(scratch, "c.toml")] });
    client = openGrpcClient(coordinator.target);
  });
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  it("ends with age in good order: GOAWAY, so that new streams take a new connection, then the notice, then OK", async () => {
    await using proxy = await startTcpProxy(Number(coordinator.target.split(":").at(-1)));
    const through = openGrpcClient(`127.0.0.1:${proxy.port}`);
    const old = new RawStream(through, bearer(keys.fleet));
    old.send({ case: "hello", value: { mcpId: "demo", capabilities: [Capability.DRAIN] } });
    await old.first("welcome");
    expect(proxy.connectionCount()).toBe(1);
    expect((await old.first("drainNotice")).value).toMatchObject({ reason: DrainReason.SESSION_AGE, newConnection: true });
    const young = new RawStream(through, bearer(keys.fleet));
    young.send({ case: "event", value: makeEvent({ interactionId: "young" }) });
    await young.untilAcks(1);
    expect(proxy.connectionCount()).toBe(2);
    old.send({ case: "event", value: makeEvent({ interactionId: "old" }) });
    expect((await old.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    old.halfClose();
    expect((await old.ended).code).toBe(0);
    await expect.poll(() => proxy.connectionCount()).toBe(1);
    young.halfClose();
    expect((await young.ended).code).toBe(0);
    through.close();
  });

  it("goes on over several streams without a failure, and every event is stored once", async () => {
    const session = createStreamSession({ endpoint: { target: coordinator.target, key: keys.fleet }, mcpId: "demo" });
    let reported = 0;
    while (session.counters.reconnects < 2) {
      session.report(makeEvent({ interactionId: `long-${reported % 10}` }));
      reported += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await session.flush()).toBe(true);
    expect(session.lastFailure).toBeUndefined();
    expect(session.counters).toMatchObject({ reported, stored: reported, duplicate: 0, rejected: 0 });
    expect(await session.close()).toEqual({ kind: "done" });
  });

  it("gets the settings of a configuration that was read again, and what became of them is counted", async () => {
    const stream = new RawStream(client, bearer(keys.fleet));
    stream.send({ case: "hello", value: { mcpId: "demo", capabilities: [Capability.CONFIG, Capability.LOAD_REPORT] } });
    const { config } = (await stream.first("welcome")).value;
    expect(config).toMatchObject({ version: 1n, heartbeatInterval: { seconds: 15n }, maxSessionAge: { seconds: 10n } });
    await writeConfig(7);
    coordinator.signal("SIGHUP");
    const update = (await stream.first("configUpdate")).value;
    expect(update.config).toMatchObject({ version: 2n, heartbeatInterval: { seconds: 7n } });
    stream.send({ case: "loadReport", value: { inFlight: 3, queued: 2, utilization: 0.5 } });
    stream.send({ case: "configAck", value: { nonce: update.nonce, version: 2n, status: ApplyStatus.APPLIED } });
    stream.send({ case: "heartbeat", value: { id: 1n } });
    expect((await stream.first("heartbeatAck")).value.configVersion).toBe(2n);
    await expect.poll(() => coordinator.log()).toMatch(/settings of sessions changed/);
    await writeFile(join(scratch, "c.toml"), "[session]\nmax_age_seconds = 0\n");
    coordinator.signal("SIGHUP");
    await expect.poll(() => coordinator.log()).toMatch(/read again and is faulty/);
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });

  it("is refused to a key that has as many as it may, with the quota and when to retry; other keys are let in", async () => {
    const held = Array.from({ length: 8 }, () => new RawStream(client, bearer(keys.fleet)));
    for (const stream of held) {
      stream.send({ case: "hello", value: { mcpId: "demo" } });
      await stream.first("welcome");
    }
    const end = await new RawStream(client, bearer(keys.fleet)).ended;
    expect(end.code).toBe(8);
    expect(detailsOf(end)).toMatchObject({ reason: "KEY_SESSIONS_EXHAUSTED", quota: { subject: "key:fleet" }, retry: true });
    const other = new RawStream(client, bearer(keys.small));
    other.send({ case: "event", value: makeEvent({ mcpId: "small" }) });
    expect((await other.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    for (const stream of [...held, other]) stream.halfClose();
    for (const stream of [...held, other]) expect((await stream.ended).code).toBe(0);
    const again = new RawStream(client, bearer(keys.fleet));
    again.send({ case: "hello", value: { mcpId: "demo" } });
    await again.first("welcome");
    again.halfClose();
    await again.ended;
  });
});

describe("figures of sessions", () => {
  it("tell of settings, windows and load to whoever may see them all", async () => {
    const coordinator = await startCoordinatorProcess();
    const client = openGrpcClient(coordinator.target);
    const stream = new RawStream(client);
    stream.send({ case: "hello", value: { mcpId: "demo", capabilities: [Capability.CONFIG, Capability.LOAD_REPORT] } });
    await stream.first("welcome");
    stream.send({ case: "loadReport", value: { inFlight: 3, queued: 2, utilization: 0.5 } });
    stream.send({ case: "heartbeat", value: { id: 1n } });
    await stream.first("heartbeatAck");
    const { response } = await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema));
    expect(response?.coordinator?.sessions).toMatchObject({
      pressure: 1,
      windowMaxEvents: 1_000,
      configVersion: 1n,
      configCurrent: 1,
      configBehind: 0,
      configRejected: 0,
      loads: [{ mcpId: "demo", sessions: 1, inFlight: 3n, queued: 2n, utilization: 0.5 }],
    });
    stream.halfClose();
    await stream.ended;
    client.close();
    await coordinator.stop();
  });
});
