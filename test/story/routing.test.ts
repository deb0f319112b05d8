import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { DecisionOutcomeState } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import {
  ExplainDecisionRequestSchema,
  GetRoutingConfigRequestSchema,
  ListDecisionsRequestSchema,
  ReleaseDecisionRequestSchema,
  RoutingService,
  SelectMcpRequestSchema,
  SetRoutingConfigRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { type CallEnd, callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

type Client = ReturnType<typeof openGrpcClient>;
const { method } = RoutingService;

/** An MCP with one session, which reports what decisions send it. */
class Mcp {
  readonly id: string;
  readonly #stream: RawStream;
  #events = 0;

  private constructor(id: string, stream: RawStream) {
    this.id = id;
    this.#stream = stream;
  }

  static async connect(client: Client, id: string): Promise<Mcp> {
    const stream = new RawStream(client);
    stream.send({ case: "hello", value: { mcpId: id } });
    await stream.first("welcome");
    return new Mcp(id, stream);
  }

  /** Reports one event and waits until it is stored. */
  async report(interactionId: string, detail: NonNullable<EventInit["detail"]>): Promise<void> {
    const { mcpId: _, ...event } = makeEvent({ interactionId, detail });
    this.#events += 1;
    this.#stream.send({ case: "event", value: event });
    const acks = await this.#stream.untilAcks(this.#events);
    expect(acks.at(-1)?.status).toBe(EventStatus.STORED);
  }

  start(interactionId: string, routingDecisionId: string): Promise<void> {
    return this.report(interactionId, { case: "start", value: { requestType: "ocr", routingDecisionId } });
  }

  complete(interactionId: string): Promise<void> {
    return this.report(interactionId, { case: "complete", value: { qualityScore: 0.75, processingTime: { nanos: 5_000_000 } } });
  }

  async leave(): Promise<void> {
    this.#stream.halfClose();
    await this.#stream.ended;
  }
}

const select = (client: Client, init: MessageInitShape<typeof SelectMcpRequestSchema> = {}, headers: Record<string, string> = {}) =>
  callUnary(client, method.selectMcp, create(SelectMcpRequestSchema, init), headers);
const explain = async (client: Client, decisionId: string) =>
  (await callUnary(client, method.explainDecision, create(ExplainDecisionRequestSchema, { decisionId }))).response?.decision;
const release = (client: Client, decisionId: string, headers: Record<string, string> = {}) =>
  callUnary(client, method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }), headers);
const configure = (client: Client, init: MessageInitShape<typeof SetRoutingConfigRequestSchema>, headers: Record<string, string> = {}) =>
  callUnary(client, method.setRoutingConfig, create(SetRoutingConfigRequestSchema, init), headers);
const configOf = async (client: Client, maxChanges = 0) =>
  (await callUnary(client, method.getRoutingConfig, create(GetRoutingConfigRequestSchema, { maxChanges }))).response;
const statsOf = async (client: Client) =>
  (await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema))).response?.coordinator?.routing;
const detailOf = <T extends Parameters<typeof anyUnpack>[1]>(end: CallEnd, schema: T) =>
  end.status?.details.map((any) => anyUnpack(any, schema)).find((found) => found !== undefined);
const reasonOf = (end: CallEnd) => (detailOf(end, ErrorInfoSchema) as { reason?: string } | undefined)?.reason;
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("a request that is routed", () => {
  let coordinator: RunningCoordinator;
  let client: Client;
  beforeAll(async () => {
    coordinator = await startCoordinatorProcess();
    client = openGrpcClient(coordinator.target);
  });
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
  });

  it("meets UNAVAILABLE and a delay of a second at most while no MCP is connected", async () => {
    const { end } = await select(client);
    expect([end.code, reasonOf(end)]).toEqual([14, "NO_ELIGIBLE_MCP"]);
    const delay = (detailOf(end, RetryInfoSchema) as { retryDelay?: { seconds: bigint; nanos: number } } | undefined)?.retryDelay;
    expect(Number(delay?.seconds) * 1_000 + (delay?.nanos ?? 0) / 1e6).toBeGreaterThan(0);
    expect(Number(delay?.seconds) * 1_000 + (delay?.nanos ?? 0) / 1e6).toBeLessThanOrEqual(1_000);
  });

  it("is given an MCP, confirmed by its start event, ended by its end, and explained with factors that sum to the score bit for bit", async () => {
    const mcps = [await Mcp.connect(client, "ocr_001"), await Mcp.connect(client, "ocr_002")];
    const { response } = await select(client, { request: { requestType: "ocr", inputBytes: 5_000n }, keepCandidates: true });
    const decisionId = response?.decisionId ?? "";
    const chosen = mcps.find(({ id }) => id === response?.mcpId);
    expect(response?.candidates.map(({ mcpId }) => mcpId)).toEqual(["ocr_001", "ocr_002"]);
    expect(response?.why).toMatchObject({ policyId: "quality-tail-load/1", requestClass: "ocr/7", candidateCount: 2, drawableCount: 2 });
    expect((await explain(client, decisionId))?.outcome?.state).toBe(DecisionOutcomeState.OPEN);
    await chosen?.start("routed-1", decisionId);
    await chosen?.complete("routed-1");
    const decision = await explain(client, decisionId);
    expect(decision?.outcome).toMatchObject({ state: DecisionOutcomeState.COMPLETE, interactionId: "routed-1", qualityScore: 0.75 });
    expect(decision?.propensity).toBe(response?.propensity);
    for (const { score, factors } of decision?.candidates ?? []) {
      expect(score).toBe(factors.reduce((sum, { contribution }) => sum + contribution, 0));
    }
    expect(decision?.candidates.reduce((sum, { propensity }) => sum + propensity, 0)).toBeCloseTo(1, 12);
    for (const mcp of mcps) await mcp.leave();
  });

  it("never gets an MCP more than max_concurrent_requests at once, however many ask together, and finds room again when places are given back", async () => {
    const mcp = await Mcp.connect(client, "narrow_001");
    await configure(client, { mcps: [{ mcpId: "narrow_001", maxConcurrentRequests: 3 }] });
    // Whoever has just come takes a quarter of what it may.
    const room =
      (await select(client, { keepCandidates: true })).response?.candidates.find(({ mcpId }) => mcpId === "narrow_001")?.capacity ?? 0;
    const answers = await Promise.all(Array.from({ length: 40 }, () => select(client)));
    const taken = answers.flatMap(({ response }) => (response === undefined ? [] : [response.decisionId]));
    // What it may have as a newcomer, or all of it in the panic after others have left; never more.
    expect(taken.length + 1).toBeGreaterThanOrEqual(room);
    expect(taken.length + 1).toBeLessThanOrEqual(3);
    expect(taken.length).toBeLessThan(answers.length);
    for (const { end } of answers.filter(({ response }) => response === undefined))
      expect([end.code, reasonOf(end)]).toEqual([8, "FLEET_FULL"]);
    const { response } = await callUnary(client, method.listDecisions, create(ListDecisionsRequestSchema, { mcpId: "narrow_001" }));
    for (const decision of response?.decisions ?? []) await release(client, decision.decisionId);
    for (const decisionId of taken) await release(client, decisionId);
    await mcp.leave();
  });

  it("is given back once, and after that there is nothing to give back; an id that nobody knows is told so", async () => {
    const mcp = await Mcp.connect(client, "back_001");
    const decisionId = (await select(client, { request: { capabilities: [] } })).response?.decisionId ?? "";
    expect((await release(client, decisionId)).response?.released).toBe(true);
    expect((await release(client, decisionId)).response?.released).toBe(false);
    await expect.poll(async () => (await explain(client, decisionId))?.outcome?.censoredBecause).toBe("released");
    const unknown = await release(client, mintUuidV7());
    expect([unknown.end.code, reasonOf(unknown.end)]).toEqual([5, "DECISION_UNKNOWN"]);
    const malformed = await release(client, "no-uuid");
    expect([malformed.end.code, reasonOf(malformed.end)]).toEqual([3, "FIELD_VIOLATION"]);
    await mcp.leave();
  });

  it("is not confirmed by a start event of another MCP: that event is stored and counted, and the decision stays open", async () => {
    const [own, other] = [await Mcp.connect(client, "own_001"), await Mcp.connect(client, "other_001")];
    const { response } = await select(client, { request: { excludeMcpIds: ["other_001"] } });
    const decisionId = response?.decisionId ?? "";
    const before = await statsOf(client);
    await other.start("stolen-1", decisionId);
    await other.start("stolen-2", mintUuidV7());
    await other.start("stolen-3", "no uuid at all");
    const after = await statsOf(client);
    expect([
      (after?.foreignStarts ?? 0n) - (before?.foreignStarts ?? 0n),
      (after?.unknownStarts ?? 0n) - (before?.unknownStarts ?? 0n),
    ]).toEqual([1n, 2n]);
    expect((await explain(client, decisionId))?.outcome).toMatchObject({ state: DecisionOutcomeState.OPEN, interactionId: "" });
    expect((await release(client, decisionId)).response?.released).toBe(true);
    for (const mcp of [own, other]) await mcp.leave();
  });

  const bad: readonly [string, MessageInitShape<typeof SelectMcpRequestSchema>, string][] = [
    ["a text of 257 bytes", { request: { requestType: "x".repeat(257) } }, "request.request_type"],
    ["NUL in a text", { request: { tenant: "a\0b" } }, "request.tenant"],
    ["a capability twice", { request: { capabilities: ["ocr", "ocr"] } }, "request.capabilities[1]"],
    ["33 capabilities", { request: { capabilities: Array.from({ length: 33 }, (_, at) => `c${at}`) } }, "request.capabilities"],
    ["an empty name among the excluded", { request: { excludeMcpIds: [""] } }, "request.exclude_mcp_ids[0]"],
    ["a deadline of nothing", { request: { deadline: {} } }, "request.deadline"],
    ["a deadline that lies back", { request: { deadline: { seconds: -1n } } }, "request.deadline"],
    ["more bytes than a double counts", { request: { inputBytes: 2n ** 53n } }, "request.input_bytes"],
  ];
  it.each(bad)("with %s is refused, and the refusal names the field", async (_, init, field) => {
    const { end } = await select(client, init);
    expect([end.code, reasonOf(end)]).toEqual([3, "FIELD_VIOLATION"]);
    expect(end.message).toContain(`${field}:`);
  });

  const badChanges: readonly [string, MessageInitShape<typeof SetRoutingConfigRequestSchema>, string][] = [
    ["nothing to change", {}, "mcps"],
    ["an unknown policy", { policyId: "nobody/1" }, "policy_id"],
    ["an unknown shadow", { shadowPolicies: { policyIds: ["nobody/1"] } }, "shadow_policies.policy_ids[0]"],
    ["five shadows", { shadowPolicies: { policyIds: ["a", "b", "c", "d", "e"] } }, "shadow_policies.policy_ids"],
    ["the policy in force as its own shadow", { shadowPolicies: { policyIds: ["quality-tail-load/1"] } }, "shadow_policies.policy_ids[0]"],
    ["a weight of -1", { mcps: [{ mcpId: "a", weight: -1 }] }, "mcps[0].weight"],
    ["a weight above its bound", { mcps: [{ mcpId: "a", weight: 10_001 }] }, "mcps[0].weight"],
    ["a priority above its bound", { mcps: [{ mcpId: "a", priority: 10 }] }, "mcps[0].priority"],
    ["no room at all", { mcps: [{ mcpId: "a", maxConcurrentRequests: 0 }] }, "mcps[0].max_concurrent_requests"],
    ["a cost below nothing", { mcps: [{ mcpId: "a", costPerRequest: -0.01 }] }, "mcps[0].cost_per_request"],
    ["a cost that is no number", { mcps: [{ mcpId: "a", costPerRequest: Number.NaN }] }, "mcps[0].cost_per_request"],
    ["an MCP without a name", { mcps: [{ mcpId: "", weight: 1 }] }, "mcps[0]"],
    [
      "an MCP twice",
      {
        mcps: [
          { mcpId: "a", weight: 1 },
          { mcpId: "a", weight: 2 },
        ],
      },
      "mcps[1]",
    ],
    ["an MCP of which nothing is said", { mcps: [{ mcpId: "a" }] }, "mcps[0]"],
  ];
  it.each(badChanges)("meets a configuration that takes no %s, and the refusal names the field", async (_, init, field) => {
    const before = (await configOf(client))?.config?.version;
    const { end } = await configure(client, init);
    expect([end.code, reasonOf(end)]).toEqual([3, "FIELD_VIOLATION"]);
    expect(end.message).toContain(`${field}:`);
    expect((await configOf(client))?.config?.version).toBe(before);
  });

  it("is routed by the policy that was put in force a moment ago, with shadows that are asked along, and by the old one when that is put back", async () => {
    const mcps = [await Mcp.connect(client, "pol_001"), await Mcp.connect(client, "pol_002")];
    const { response: changed } = await configure(client, {
      policyId: "random/1",
      shadowPolicies: { policyIds: ["least-requests/1", "quality-tail-load/1"] },
      reason: "trial",
    });
    const decided = (await select(client)).response;
    expect(decided?.why?.policyId).toBe("random/1");
    const shadows = (await explain(client, decided?.decisionId ?? ""))?.shadows.map(({ policyId }) => policyId);
    expect(shadows).toEqual(["least-requests/1", "quality-tail-load/1"]);
    const report = await configOf(client, 1);
    expect(report?.shadows.map(({ policyId, decisions }) => [policyId, decisions])).toEqual([
      ["least-requests/1", 1n],
      ["quality-tail-load/1", 1n],
    ]);
    expect(report?.changes[0]).toMatchObject({ version: changed?.config?.version, reason: "trial", changedBy: "" });
    expect(report?.changes[0]?.settings.map(({ setting }) => setting)).toEqual(["policy_id", "shadow_policy_ids"]);
    const stale = await configure(client, { policyId: "two-choices/1", ifVersion: (changed?.config?.version ?? 0n) - 1n + 100n });
    expect([stale.end.code, reasonOf(stale.end)]).toEqual([6, "CONFIG_CHANGED"]);
    await configure(client, { policyId: "quality-tail-load/1", shadowPolicies: {} });
    const again = (await select(client)).response;
    expect(again?.why?.policyId).toBe("quality-tail-load/1");
    for (const one of [decided, again]) await release(client, one?.decisionId ?? "");
    for (const mcp of mcps) await mcp.leave();
  });

  it("is computed again bit for bit by the command line, from the log alone", async () => {
    const mcps = [await Mcp.connect(client, "bit_001"), await Mcp.connect(client, "bit_002"), await Mcp.connect(client, "bit_003")];
    const decisions: string[] = [];
    for (let at = 0; at < 20; at++) {
      const { response } = await select(client, { request: { requestType: "bits", inputBytes: BigInt(at * 1_000) }, keepCandidates: true });
      if (response === undefined) break;
      decisions.push(response.decisionId);
      const chosen = mcps.find(({ id }) => id === response.mcpId);
      await chosen?.start(`bit-${at}`, response.decisionId);
      await chosen?.complete(`bit-${at}`);
    }
    expect(decisions.length).toBe(20);
    await expect.poll(async () => (await statsOf(client))?.logWaiting).toBe(0);
    const replay = ["replay", "--policy", "quality-tail-load/1", "--from", "1h", "--target", coordinator.target, "--json"];
    const { code, stdout, stderr } = await runCli(replay);
    expect(stderr).toBe("");
    const report = JSON.parse(stdout);
    expect(report.firstDifference).toBeUndefined();
    expect(report.identical).toBe(report.recomputed);
    expect(report.recomputed).toBeGreaterThanOrEqual(20);
    expect(code).toBe(0);
    const without = JSON.parse((await runCli([...replay, "--without", "bit_001"])).stdout);
    // The log need not have chosen it: then nobody speaks of it at all.
    expect(without.choices.find((one: { mcpId: string }) => one.mcpId === "bit_001")?.replayed ?? 0).toBe(0);
    // All decisions are younger than what the evaluation waits for, and it says on what it stands.
    const other = await runCli(["replay", "--policy", "least-requests/1", "--from", "1h", "--target", coordinator.target]);
    expect(other.stdout).toMatch(/^evidence +0 decisions; left out: \d+ too young/m);
    expect(other.stdout).toMatch(/^audited +no answer was rated$/m);
    const explained = await runCli(["explain", decisions[0] ?? "", "--target", coordinator.target]);
    expect(explained.code).toBe(0);
    expect(explained.stdout).toContain("bit for bit");
    for (const mcp of mcps) await mcp.leave();
  });
});

const story = it.runIf(findPostgres().kind === "found");

describe("two coordinators on one Postgres", () => {
  let postgres: RunningPostgres;
  let coordinators: RunningCoordinator[] = [];
  beforeAll(async () => {
    if (findPostgres().kind !== "found") return;
    postgres = await startPostgres();
    coordinators = [
      await startCoordinatorProcess({ databaseUrl: postgres.url }),
      await startCoordinatorProcess({ databaseUrl: postgres.url }),
    ];
  });
  afterAll(async () => {
    for (const coordinator of coordinators) await coordinator.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  story("explain each other's decisions, take over a changed configuration within a poll, and know both after a restart", async () => {
    const [first, second] = coordinators;
    if (first === undefined || second === undefined) throw new Error("two coordinators were started");
    const [atFirst, atSecond] = [openGrpcClient(first.target), openGrpcClient(second.target)];
    const mcp = await Mcp.connect(atFirst, "shared_001");
    const { response } = await select(atFirst, { keepCandidates: true });
    const decisionId = response?.decisionId ?? "";
    await mcp.start("shared-1", decisionId);
    await mcp.complete("shared-1");
    await expect.poll(async () => (await explain(atSecond, decisionId))?.outcome?.state).toBe(DecisionOutcomeState.COMPLETE);
    expect(await explain(atSecond, decisionId)).toMatchObject({ candidates: (await explain(atFirst, decisionId))?.candidates });
    const changed = await configure(atFirst, { policyId: "random/1", mcps: [{ mcpId: "shared_001", weight: 7 }], reason: "for both" });
    await expect
      .poll(async () => (await configOf(atSecond))?.config)
      .toMatchObject({ version: changed.response?.config?.version, policyId: "random/1", mcps: [{ mcpId: "shared_001", weight: 7 }] });
    await mcp.leave();
    atFirst.close();
    atSecond.close();
    for (const coordinator of coordinators) {
      coordinator.signal("SIGTERM");
      expect(await coordinator.exited).toBe(0);
    }
    const again = await startCoordinatorProcess({ databaseUrl: postgres.url });
    const client = openGrpcClient(again.target);
    expect((await configOf(client, 10))?.config).toMatchObject({ version: 1n, policyId: "random/1" });
    expect((await explain(client, decisionId))?.outcome).toMatchObject({ state: DecisionOutcomeState.COMPLETE, interactionId: "shared-1" });
    const released = await release(client, decisionId);
    expect([released.end.code, reasonOf(released.end)]).toEqual([5, "DECISION_UNKNOWN"]);
    client.close();
    await again.stop();
  });
});

describe("keys", () => {
  let [operator, ocr, other] = [
    { key: "", id: "" },
    { key: "", id: "" },
    { key: "", id: "" },
  ];
  let coordinator: RunningCoordinator;
  let client: Client;
  beforeAll(async () => {
    let config = "";
    const generate = async (mcpId: string) => {
      const made = await runCli(["keys", "generate", "--mcp-id", mcpId]);
      config += made.stdout;
      return { key: /(sk-\S+)/.exec(made.stderr)?.[1] ?? "", id: /id = "([^"]+)"/.exec(made.stdout)?.[1] ?? "" };
    };
    [operator, ocr, other] = [await generate("*"), await generate("ocr_001"), await generate("other_001")];
    coordinator = await startCoordinatorProcess({ config });
    client = openGrpcClient(coordinator.target);
  });
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
  });

  it("release and explain what they selected themselves and what names their own MCP, and nothing else", async () => {
    const mcp = new RawStream(client, bearer(ocr.key));
    mcp.send({ case: "hello", value: { mcpId: "ocr_001" } });
    await mcp.first("welcome");
    const made = (await select(client, {}, bearer(operator.key))).response?.decisionId ?? "";
    const foreign = await release(client, made, bearer(other.key));
    expect([foreign.end.code, reasonOf(foreign.end)]).toEqual([7, "DECISION_FOREIGN"]);
    const hidden = await callUnary(
      client,
      method.explainDecision,
      create(ExplainDecisionRequestSchema, { decisionId: made }),
      bearer(other.key),
    );
    expect([hidden.end.code, reasonOf(hidden.end)]).toEqual([7, "DECISION_FOREIGN"]);
    expect((await release(client, made, bearer(ocr.key))).response?.released).toBe(true);
    const own = (await select(client, {}, bearer(other.key))).response;
    expect(own?.mcpId).toBe("ocr_001");
    expect((await release(client, own?.decisionId ?? "", bearer(other.key))).response?.released).toBe(true);
    mcp.halfClose();
    await mcp.ended;
  });

  it("change how requests are routed only when they are for all MCPs, and the audit names them", async () => {
    const change = { mcps: [{ mcpId: "ocr_001", weight: 50 }] };
    const refused = await configure(client, change, bearer(ocr.key));
    expect([refused.end.code, reasonOf(refused.end)]).toEqual([7, "OPERATOR_ONLY"]);
    expect((await configure(client, change, bearer(operator.key))).response?.config).toMatchObject({ changedBy: operator.id });
    const asked = create(GetRoutingConfigRequestSchema, { maxChanges: 5 });
    const seen = async (key: string) => (await callUnary(client, method.getRoutingConfig, asked, bearer(key))).response;
    expect((await seen(operator.key))?.changes.map(({ changedBy }) => changedBy)).toEqual([operator.id]);
    expect((await seen(ocr.key))?.config?.mcps).toHaveLength(1);
    expect(await seen(other.key)).toMatchObject({ config: { mcps: [] }, changes: [] });
  });
});
