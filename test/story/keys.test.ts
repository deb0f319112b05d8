import { create } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { GetInteractionRequestSchema, InteractionService } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { type CallEnd, callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";

const reasonOf = (end: CallEnd) =>
  end.status?.details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info !== undefined)?.reason;

describe("a coordinator with keys", () => {
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;
  const keys = new Map<string, string>();
  const bearer = (mcpId: string) => ({ authorization: `Bearer ${keys.get(mcpId)}` });

  beforeAll(async () => {
    let config = "";
    for (const mcpId of ["search", "ocr"]) {
      const made = await runCli(["keys", "generate", "--mcp-id", mcpId]);
      expect(made.code).toBe(0);
      config += made.stdout;
      keys.set(mcpId, /(sk-\S+)/.exec(made.stderr)?.[1] ?? "");
    }
    for (const key of keys.values()) expect(config).not.toContain(key);
    coordinator = await startCoordinatorProcess({ config, flags: ["--host", "0.0.0.0"] });
    client = openGrpcClient(coordinator.target.replace("0.0.0.0", "127.0.0.1"));
  });
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
  });

  it("takes events of the MCP that the key names, also when the event does not name it", async () => {
    const stream = new RawStream(client, bearer("search"));
    stream.send({ case: "hello", value: {} });
    expect((await stream.first("welcome")).value.authenticatedMcpId).toBe("search");
    stream.send({ case: "event", value: makeEvent({ mcpId: "", interactionId: "mine" }) });
    expect((await stream.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    stream.halfClose();
    await stream.ended;
  });

  it("refuses an event for another MCP, and only that event", async () => {
    const stream = new RawStream(client, bearer("search"));
    stream.send({ case: "event", value: makeEvent({ mcpId: "ocr" }) });
    stream.send({ case: "event", value: makeEvent({ mcpId: "search", interactionId: "mine-2" }) });
    const acks = await stream.untilAcks(2);
    expect(acks.map((ack) => ack.status).sort()).toEqual([EventStatus.STORED, EventStatus.PERMISSION_DENIED].sort());
    stream.halfClose();
    await stream.ended;
  });

  it("refuses a session for another MCP", async () => {
    const stream = new RawStream(client, bearer("search"));
    stream.send({ case: "hello", value: { mcpId: "ocr" } });
    const end = await stream.ended;
    expect([end.code, reasonOf(end)]).toEqual([7, "MCP_NOT_ALLOWED"]);
  });

  it("lets no MCP take over the producer of another", async () => {
    const owner = new RawStream(client, bearer("search"));
    owner.send({ case: "hello", value: { producerId: "shared-name" } });
    await owner.first("welcome");
    const thief = new RawStream(client, bearer("ocr"));
    thief.send({ case: "hello", value: { producerId: "shared-name" } });
    const end = await thief.ended;
    expect([end.code, reasonOf(end)]).toEqual([7, "PRODUCER_NOT_ALLOWED"]);
    owner.send({ case: "heartbeat", value: { id: 1n } });
    await owner.first("heartbeatAck");
    owner.halfClose();
    expect((await owner.ended).code).toBe(0);
  });

  it("refuses a missing and a wrong key, and never repeats the key", async () => {
    const missing = await new RawStream(client).ended;
    expect([missing.code, reasonOf(missing)]).toEqual([16, "KEY_MISSING"]);
    const wrong = await new RawStream(client, { authorization: "Bearer sk-mcp-wrong-key" }).ended;
    expect([wrong.code, reasonOf(wrong)]).toEqual([16, "KEY_UNKNOWN"]);
    expect(JSON.stringify(wrong.message) + coordinator.log()).not.toContain("sk-mcp-wrong-key");
  });

  it("shows an MCP its own data only", async () => {
    const own = await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema), bearer("ocr"));
    expect(own.response).toMatchObject({ totalInteractions: 0n });
    expect(own.response?.coordinator).toBeUndefined();
    const request = create(GetInteractionRequestSchema, { mcpId: "search", interactionId: "mine" });
    const { end } = await callUnary(client, InteractionService.method.getInteraction, request, bearer("ocr"));
    expect([end.code, reasonOf(end)]).toEqual([7, "MCP_NOT_ALLOWED"]);
  });
});

describe("a coordinator without keys", () => {
  it("binds beyond loopback only when told to", async () => {
    const refused = await runCli(["serve", "--host", "0.0.0.0", "--grpc-port", "0", "--web-port", "0"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/--insecure-bind/);
    const open = await startCoordinatorProcess({ flags: ["--host", "0.0.0.0", "--insecure-bind"] });
    expect(open.target).toMatch(/^0\.0\.0\.0:/);
    await open.stop();
  });
});
