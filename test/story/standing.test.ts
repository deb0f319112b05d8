import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { InteractionService, ReportInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { LeaseState } from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { ReleaseDecisionRequestSchema, RoutingService, SelectMcpRequestSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { ClientRoutes } from "../../src/client/routes.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { RegistryClient } from "../support/registry-client.js";
import { WatchingMcp, weightIn } from "../weights/streams.js";

async function connect(client: Client, mcpId: string): Promise<RawStream> {
  const stream = new RawStream(client);
  stream.send({ case: "hello", value: { mcpId, producerId: `${mcpId}-p` } });
  await stream.first("welcome");
  return stream;
}

/** Says good-bye, and waits for the end. */
async function leave(stream: RawStream): Promise<void> {
  stream.halfClose();
  expect((await stream.ended).code).toBe(0);
}

/** MCPs of `count` choices; each gives its place back. "" when nobody can be chosen. */
async function chosen(client: Client, count: number): Promise<readonly string[]> {
  const mcpIds: string[] = [];
  const request: MessageInitShape<typeof SelectMcpRequestSchema> = { request: { requestType: "ocr" } };
  for (let at = 0; at < count; at += 1) {
    const { response } = await callUnary(client, RoutingService.method.selectMcp, create(SelectMcpRequestSchema, request));
    mcpIds.push(response?.mcpId ?? "");
    if (response === undefined) continue;
    const { decisionId } = response;
    await callUnary(client, RoutingService.method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }));
  }
  return mcpIds;
}

const has = (mcpId: string) => (routes: ClientRoutes) => (weightIn(routes, mcpId) ?? 0) > 0;
const hasNot = (mcpId: string) => (routes: ClientRoutes) => (weightIn(routes, mcpId) ?? 0) === 0;

describe("who has a share of the weights, and who is chosen", () => {
  let coordinator: RunningCoordinator;
  let client: Client;
  let observer: WatchingMcp;
  /** Every table that the observer applied since the test began. */
  let tables: ClientRoutes[];
  beforeAll(async () => {
    coordinator = await startCoordinatorProcess({
      config: "[registry]\nheartbeat_interval_seconds = 1\nsuspect_misses = 6\ndead_misses = 8\n",
    });
    client = openGrpcClient(coordinator.target);
  });
  beforeEach(async () => {
    tables = [];
    observer = new WatchingMcp(coordinator.target, "observer", "observer-p");
    await observer.until(has("observer"));
    void observer.until((routes) => {
      tables.push(routes);
      return false;
    });
  });
  afterEach(() => observer?.[Symbol.asyncDispose]());
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
  });

  it("a newcomer that nobody registered takes a share beside the others, not all of it", async () => {
    // Until it is registered, and its registration known, the observer is where it was.
    using registry = new RegistryClient(coordinator.target);
    await expect.poll(async () => (await registry.call("listMcps", {})).mcps.map(({ mcpId }) => mcpId)).toContain("observer");
    await observer.until((routes) => routes.routes.find(({ mcpId }) => mcpId === "observer")?.priority === 1);
    const newcomer = await connect(client, "newcomer");
    await observer.until(has("newcomer"));
    const events = [makeEvent({ mcpId: "unary-only", detail: { case: "start", value: { requestType: "ocr" } } })];
    await callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema, { events }));
    await observer.until(has("unary-only"));
    expect(tables.filter((routes) => hasNot("observer")(routes))).toEqual([]);
    expect(tables.filter((routes) => has("unary-only")(routes) && hasNot("newcomer")(routes))).toEqual([]);
    await leave(newcomer);
  });

  it("an MCP that says good-bye and is back within seconds keeps its share in every table; one that stays away loses it", async () => {
    const first = await connect(client, "commuter");
    await observer.until(has("commuter"));
    tables.length = 0;
    await leave(first);
    expect(await chosen(client, 5)).not.toContain("commuter");
    const late = await connect(client, "later-than-commuter");
    await observer.until(has("later-than-commuter"));
    const second = await connect(client, "commuter");
    const latest = await connect(client, "latest");
    await observer.until(has("latest"));
    expect(tables.filter(hasNot("commuter"))).toEqual([]);
    await leave(second);
    await observer.until(hasNot("commuter"));
    for (const stream of [late, latest]) await leave(stream);
  });

  it("a deregistered MCP has no share, and is not chosen even while its stream is open", async () => {
    using registry = new RegistryClient(coordinator.target);
    const { mcpId } = await registry.call("registerMcp", { name: "leaver", version: "1.0.0", type: "workflow" });
    const stream = await connect(client, mcpId);
    await observer.until(has(mcpId));
    await expect.poll(() => chosen(client, 20)).toContain(mcpId);
    await registry.call("deregisterMcp", { mcpId, reason: "end of shift" });
    await observer.until(hasNot(mcpId));
    // Its table may have left it out before: silent for six seconds it is suspect. Then the directory's next look is what counts.
    await expect.poll(() => chosen(client, 20)).not.toContain(mcpId);
    expect(await chosen(client, 20)).not.toContain(mcpId);
    await leave(stream);
  });

  it("an MCP whose lease is dead has no share, though its last event is young", async () => {
    using registry = new RegistryClient(coordinator.target);
    const { mcpId } = await registry.call("registerMcp", { name: "sleeper", version: "1.0.0", type: "workflow" });
    const events = [makeEvent({ mcpId, detail: { case: "start", value: { requestType: "ocr" } } })];
    await callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema, { events }));
    await observer.until(has(mcpId));
    await expect.poll(async () => (await registry.call("getMcp", { mcpId })).mcp?.leaseState).toBe(LeaseState.DEAD);
    await observer.until(hasNot(mcpId));
    expect(await chosen(client, 20)).not.toContain(mcpId);
  });

  it("the command line shows the table in force, as text and as JSON", async () => {
    const asked = ["routes", "--target", coordinator.target];
    const text = await runCli(asked);
    expect(text.stderr).toBe("");
    expect(text.code).toBe(0);
    expect(text.stdout).toContain("observer");
    const { code, stdout } = await runCli([...asked, "--json"]);
    expect(code).toBe(0);
    const printed = JSON.parse(stdout);
    expect(printed.table.routes.map(({ mcpId }: { readonly mcpId: string }) => mcpId)).toContain("observer");
    expect(printed.table.version).toBeGreaterThan(0);
  });

  it("an MCP that leaves a routing table unanswered is degraded until it answers one", async () => {
    const mcpId = "laggard";
    const stream = new RawStream(client);
    stream.send({ case: "hello", value: { mcpId, producerId: "laggard-p", capabilities: [Capability.ROUTING] } });
    await stream.first("welcome");
    // Twenty successes end its slow start.
    for (let index = 0; index < 20; index += 1) {
      const [interactionId, sequence] = [`l-${index}`, BigInt(2 * index + 1)];
      stream.send({ case: "event", value: makeEvent({ mcpId, interactionId, sequence }) });
      stream.send({
        case: "event",
        value: makeEvent({ mcpId, interactionId, sequence: sequence + 1n, detail: { case: "complete", value: {} } }),
      });
    }
    await stream.untilAcks(40);
    const stateOf = async () => {
      const request = create(SelectMcpRequestSchema, { request: { requestType: "ocr" }, keepCandidates: true });
      const { response } = await callUnary(client, RoutingService.method.selectMcp, request);
      const { decisionId = "", candidates = [] } = response ?? {};
      await callUnary(client, RoutingService.method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }));
      return candidates.find((one) => one.mcpId === mcpId)?.state;
    };
    await expect.poll(stateOf).toBe("degraded");
    const answerNewest = () => {
      const updates = stream.frames.flatMap((frame) => {
        if (frame.case === "routingUpdate") return [frame.value];
        return frame.case === "welcome" && frame.value.routing !== undefined ? [frame.value.routing] : [];
      });
      const update = updates.at(-1);
      if (update === undefined) throw new Error("no table was sent");
      stream.send({ case: "routingAck", value: { nonce: update.nonce, status: ApplyStatus.APPLIED } });
    };
    const stateAfterAnswer = async () => {
      answerNewest();
      return stateOf();
    };
    await expect.poll(stateAfterAnswer).toBe("healthy");
    stream.cancel();
    await stream.ended;
  });
});
