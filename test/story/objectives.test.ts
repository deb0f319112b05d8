import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LoggedDecision, RequestFeaturesSchema } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import {
  ExplainDecisionRequestSchema,
  ReleaseDecisionRequestSchema,
  RoutingService,
  SelectMcpRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { RawStream } from "../support/raw-stream.js";
import { readAgain, unwatched } from "../support/read-again.js";

const { method } = RoutingService;
const objectivesOf = (ocrMs: number) => `[routing.objectives]\nocr = ${ocrMs}\n`;

describe("a coordinator with a latency objective", () => {
  let scratch = "";
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;
  let mcp: RawStream;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "mcpc-objectives-"));
    await writeFile(join(scratch, "c.toml"), objectivesOf(5_000));
    coordinator = await startCoordinatorProcess({ flags: ["--config", join(scratch, "c.toml")], env: unwatched });
    client = openGrpcClient(coordinator.target);
    mcp = new RawStream(client);
    mcp.send({ case: "hello", value: { mcpId: "ocr_001" } });
    await mcp.first("welcome");
  });
  afterAll(async () => {
    mcp?.halfClose();
    await mcp?.ended;
    client?.close();
    await coordinator?.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  async function decide(request: MessageInitShape<typeof RequestFeaturesSchema>): Promise<LoggedDecision> {
    const selected = await callUnary(client, method.selectMcp, create(SelectMcpRequestSchema, { request, keepCandidates: true }));
    const decisionId = selected.response?.decisionId ?? "";
    const { response } = await callUnary(client, method.explainDecision, create(ExplainDecisionRequestSchema, { decisionId }));
    await callUnary(client, method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }));
    if (response?.decision === undefined) throw new Error(`${decisionId} has no explanation`);
    return response.decision;
  }

  /** What the score takes off for the expected latency, times the deadline, over that latency: the same weight whatever the deadline, as long as it is the one in use. */
  function latencyWeightBy({ candidates: [candidate] }: LoggedDecision, deadlineMs: number): number {
    const contribution = candidate?.factors.find(({ name }) => name === "latency")?.contribution ?? Number.NaN;
    return (contribution * deadlineMs) / (candidate?.signals?.latencyMs ?? Number.NaN);
  }

  it("decides by it, and the explanation names it", async () => {
    const decision = await decide({ requestType: "ocr" });
    expect(decision.classSignals?.deadlineMs).toBe(5_000);
    const other = await decide({ requestType: "search" });
    expect(other.classSignals?.deadlineMs).toBe(other.classSignals?.p90Ms);
    expect(latencyWeightBy(decision, 5_000)).toBeCloseTo(latencyWeightBy(other, other.classSignals?.p90Ms ?? 0), 12);
  });

  it("decides by the request's own deadline where it names one, and the explanation shows both", async () => {
    const byObjective = await decide({ requestType: "ocr" });
    const own = await decide({ requestType: "ocr", deadline: { seconds: 4n } });
    expect([own.request?.deadline?.seconds, own.classSignals?.deadlineMs]).toEqual([4n, 5_000]);
    expect(latencyWeightBy(own, 4_000)).toBeCloseTo(latencyWeightBy(byObjective, 5_000), 12);
  });

  it("takes another one at SIGHUP, and keeps what it has when the file is faulty", async () => {
    await readAgain(coordinator, join(scratch, "c.toml"), objectivesOf(0));
    expect((await decide({ requestType: "ocr" })).classSignals?.deadlineMs).toBe(5_000);
    await readAgain(coordinator, join(scratch, "c.toml"), objectivesOf(7_000));
    expect((await decide({ requestType: "ocr" })).classSignals?.deadlineMs).toBe(7_000);
    expect(coordinator.log()).toContain("other latency objectives are in force");
    await readAgain(coordinator, join(scratch, "c.toml"), "");
    const without = await decide({ requestType: "ocr" });
    expect(without.classSignals?.deadlineMs).toBe(without.classSignals?.p90Ms);
  });
});
