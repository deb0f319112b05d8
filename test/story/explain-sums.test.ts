import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { DecisionCandidateSchema } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import {
  type ExplainDecisionRequest,
  ExplainDecisionRequestSchema,
  type ExplainDecisionResponse,
  ExplainDecisionResponseSchema,
  RoutingService,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { runCli } from "../support/coordinator.js";
import { pathOf } from "../support/grpc-client.js";

type Candidate = MessageInitShape<typeof DecisionCandidateSchema>;

/** 0.1 + 0.2, as doubles have it: one bit more than 0.3. */
const factors = [
  { name: "quality", contribution: 0.1 },
  { name: "tail", contribution: 0.2 },
];
const candidates: Readonly<Record<string, readonly Candidate[]>> = {
  exact: [{ mcpId: "a", score: 0.1 + 0.2, factors }],
  off: [
    { mcpId: "a", score: 0.1 + 0.2, factors },
    { mcpId: "b", score: 0.3, factors },
  ],
};

/** A coordinator of another make, which answers for each decision what stands under its id. */
const server = new Server({ "grpc.enable_channelz": 0 });
let target = "";

beforeAll(async () => {
  server.addService(
    {
      explainDecision: {
        path: pathOf(RoutingService.method.explainDecision),
        ...{ requestStream: false, responseStream: false },
        requestSerialize: (value: ExplainDecisionRequest) => Buffer.from(toBinary(ExplainDecisionRequestSchema, value)),
        requestDeserialize: (bytes: Buffer) => fromBinary(ExplainDecisionRequestSchema, bytes),
        responseSerialize: (value: ExplainDecisionResponse) => Buffer.from(toBinary(ExplainDecisionResponseSchema, value)),
        responseDeserialize: (bytes: Buffer) => fromBinary(ExplainDecisionResponseSchema, bytes),
      },
    },
    {
      explainDecision: (
        { request: { decisionId } }: ServerUnaryCall<ExplainDecisionRequest, ExplainDecisionResponse>,
        answer: sendUnaryData<ExplainDecisionResponse>,
      ) => {
        const decision = { decisionId, mcpId: "a", propensity: 1, candidates: [...(candidates[decisionId] ?? [])] };
        answer(null, create(ExplainDecisionResponseSchema, decisionId === "nothing" ? {} : { decision }));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  target = `127.0.0.1:${port}`;
});
afterAll(() => server.forceShutdown());

it.each([
  ["exact", 0, "bit for bit", ""],
  ["off", 1, "b", "the factors of b sum to 0.30000000000000004, its score is 0.3"],
  ["nothing", 3, "", "no decision nothing"],
])("explain of a decision whose sums are %s ends with %i", async (decisionId, code, said, complaint) => {
  const ended = await runCli(["explain", decisionId, "--target", target]);
  expect([ended.code, ended.stdout, ended.stderr]).toEqual([code, expect.stringContaining(said), expect.stringContaining(complaint)]);
  expect(ended.stdout.includes("bit for bit")).toBe(decisionId === "exact");
});
