import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import type { DecisionCandidate } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  AuditDecisionRequestSchema,
  ExplainDecisionRequestSchema,
  ReleaseDecisionRequestSchema,
  RoutingService,
  SelectMcpRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";

const { method } = RoutingService;
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("an MCP that claims perfect quality", () => {
  let [operator, boasterKey] = ["", ""];
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;
  const streams = new Map<string, RawStream>();
  const reported = new Map<string, number>();

  const audit = async (init: MessageInitShape<typeof AuditDecisionRequestSchema>, key = operator) => {
    const { response, end } = await callUnary(client, method.auditDecision, create(AuditDecisionRequestSchema, init), bearer(key));
    const info = end.status?.details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((found) => found !== undefined);
    return { response, code: end.code, reason: info?.reason, metadata: info?.metadata };
  };
  const select = async (excludeMcpIds: readonly string[] = []) => {
    // An hour of time: how long this machine takes plays no part in the score.
    const request = { requestType: "ocr", noExplore: true, deadline: { seconds: 3_600n }, excludeMcpIds: [...excludeMcpIds] };
    const { response } = await callUnary(
      client,
      method.selectMcp,
      create(SelectMcpRequestSchema, { request, keepCandidates: true }),
      bearer(operator),
    );
    if (response === undefined) throw new Error("nobody was chosen");
    return response;
  };
  /** The boaster as a decision sees it that is given back. */
  const boaster = async (): Promise<DecisionCandidate | undefined> => {
    const { decisionId, candidates } = await select();
    await callUnary(client, method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }), bearer(operator));
    return candidates.find(({ mcpId }) => mcpId === "boaster");
  };
  /** A request that this MCP serves, and rates itself. Resolves with the decision when its end is stored. */
  const serve = async (mcpId: "boaster" | "honest", qualityScore: number): Promise<string> => {
    const { decisionId } = await select([mcpId === "boaster" ? "honest" : "boaster"]);
    const interactionId = mintUuidV7();
    const details = [
      { case: "start", value: { requestType: "ocr", routingDecisionId: decisionId } },
      { case: "complete", value: { qualityScore, processingTime: { nanos: 5_000_000 } } },
    ] as const;
    const stream = streams.get(mcpId);
    for (const detail of details) stream?.send({ case: "event", value: makeEvent({ mcpId, interactionId, detail }) });
    const acked = (reported.get(mcpId) ?? 0) + details.length;
    reported.set(mcpId, acked);
    const acks = await stream?.untilAcks(acked);
    expect(acks?.at(-1)?.status).toBe(EventStatus.STORED);
    return decisionId;
  };

  beforeAll(async () => {
    let config = "";
    const generate = async (mcpId: string) => {
      const made = await runCli(["keys", "generate", "--mcp-id", mcpId]);
      config += made.stdout;
      return /(sk-\S+)/.exec(made.stderr)?.[1] ?? "";
    };
    operator = await generate("*");
    boasterKey = await generate("boaster");
    coordinator = await startCoordinatorProcess({ config });
    client = openGrpcClient(coordinator.target);
    for (const mcpId of ["boaster", "honest"]) {
      const stream = new RawStream(client, bearer(mcpId === "boaster" ? boasterKey : operator));
      stream.send({ case: "hello", value: { mcpId, producerId: `producer of ${mcpId}` } });
      await stream.first("welcome");
      streams.set(mcpId, stream);
    }
  });
  afterAll(async () => {
    for (const stream of streams.values()) stream.cancel();
    client?.close();
    await coordinator?.stop();
  });

  it("loses its share when audits say otherwise, may not audit itself, and every word of that is explained", async () => {
    const [decisions, honestOnes]: [string[], string[]] = [[], []];
    for (let at = 0; at < 20; at += 1) {
      decisions.push(await serve("boaster", at % 2 === 0 ? 1 : 0.97));
      honestOnes.push(await serve("honest", at % 2 === 0 ? 0.8 : 0.75));
    }
    const [decisionId = ""] = decisions;
    const claimed = await boaster();

    // What it would like to say of its own answers, with its own key.
    expect(await audit({ decisionId, quality: 1 }, boasterKey)).toMatchObject({ code: 7, reason: "OPERATOR_ONLY" });
    expect(await audit({ decisionId, quality: Number.NaN })).toMatchObject({ code: 3, reason: "FIELD_VIOLATION" });
    expect(await audit({ decisionId: mintUuidV7(), quality: 1 })).toMatchObject({ code: 5, reason: "DECISION_UNKNOWN" });
    // What is known fades a little in silence.
    expect((await boaster())?.signals?.quality).toBeCloseTo(claimed?.signals?.quality ?? 0, 2);

    for (const [at, one] of decisions.entries()) {
      // The other one is sampled, too: what is audited at one MCP only may be what such requests are worth anywhere.
      const honest = await audit({ decisionId: honestOnes[at] ?? "", quality: 0.8, auditor: "golden-set/3" });
      expect(honest.response).toMatchObject({ mcpId: "honest", counted: true });
      const { response } = await audit({ decisionId: one, quality: 0.2, auditor: "golden-set/3" });
      expect(response).toMatchObject({ mcpId: "boaster", counted: true });
    }
    const judged = await boaster();
    const qualityOf = (candidate: DecisionCandidate | undefined) =>
      candidate?.factors.find(({ name }) => name === "quality")?.contribution ?? Number.NaN;
    expect(judged?.signals?.quality).toBeLessThan((claimed?.signals?.quality ?? 0) - 0.2);
    expect(qualityOf(judged)).toBeLessThan(qualityOf(claimed));
    expect(claimed?.propensity).toBeGreaterThan(0.2);
    expect(judged?.propensity).toBeLessThan((claimed?.propensity ?? 0) / 2);

    const asked = create(ExplainDecisionRequestSchema, { decisionId });
    const outcome = async () => (await callUnary(client, method.explainDecision, asked, bearer(operator))).response?.decision?.outcome;
    const logged = { qualityScore: 1, auditedQuality: 0.2, auditor: "golden-set/3" };
    expect(await outcome()).toMatchObject(logged);
    expect(await audit({ decisionId, quality: 0.2, auditor: "again" })).toMatchObject({ code: 0, response: { counted: false } });
    const other = await audit({ decisionId, quality: 0.9, auditor: "again" });
    expect(other).toMatchObject({ code: 6, reason: "DECISION_AUDITED", metadata: { quality: "0.2" } });
    expect((await boaster())?.signals?.quality).toBeCloseTo(judged?.signals?.quality ?? 0, 2);
  });

  it("is audited from the command line and over Connect, too", async () => {
    const [first, second] = [await serve("boaster", 1), await serve("boaster", 1)];
    const at = (key: string, ...args: readonly string[]) => runCli([...args, "--target", coordinator.target], { MCPC_KEY: key });
    const told = await at(operator, "audit", first, "--quality", "0.25", "--auditor", "panel", "--json");
    expect([told.code, told.stderr, JSON.parse(told.stdout)]).toEqual([0, "", { mcpId: "boaster", counted: true }]);
    expect((await at(operator, "audit", first, "--quality", "0.25")).stdout).toBe("boaster: counted before\n");
    expect((await at(operator, "explain", first)).stdout).toContain("quality 1, audited 0.25 by panel");
    const other = await at(operator, "audit", first, "--quality", "1");
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining("audited before: 0.25 counts")]);
    const wrong = await at(operator, "audit", first, "--quality", "1.5");
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("--quality must be a number from 0 to 1")]);
    expect((await at(operator, "audit", mintUuidV7(), "--quality", "1")).code).toBe(3);
    expect((await at(boasterKey, "audit", first, "--quality", "1")).code).toBe(4);

    const response = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.RoutingService/AuditDecision`, {
      method: "POST",
      headers: { "content-type": "application/json", ...bearer(operator) },
      body: JSON.stringify({ decisionId: second, quality: 0, auditor: "panel" }),
    });
    expect([response.status, await response.json()]).toEqual([200, { mcpId: "boaster", counted: true }]);
  });
});
