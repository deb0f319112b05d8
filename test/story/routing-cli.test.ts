import { create } from "@bufbuild/protobuf";
import type { Client } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { ApplyStatus, RouteState, RoutingRejection } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import {
  GetRoutesRequestSchema,
  ReleaseDecisionRequestSchema,
  RoutingService,
  SelectMcpRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { DecisionView } from "../../src/client/decisions.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";

const { method } = RoutingService;

describe("an operator at the command line", () => {
  let coordinator: RunningCoordinator;
  let client: Client;
  const streams: RawStream[] = [];

  async function connect(mcpId: string, capabilities: readonly Capability[] = []): Promise<RawStream> {
    const stream = new RawStream(client);
    streams.push(stream);
    stream.send({ case: "hello", value: { mcpId, producerId: `${mcpId}-p`, capabilities: [...capabilities] } });
    await stream.first("welcome");
    return stream;
  }

  /** Who is chosen by `count` requests, each of which gives its place back. */
  async function chosen(count: number): Promise<ReadonlySet<string>> {
    const mcpIds = new Set<string>();
    for (let at = 0; at < count; at += 1) {
      const { response } = await callUnary(client, method.selectMcp, create(SelectMcpRequestSchema, { request: { requestType: "ocr" } }));
      if (response === undefined) continue;
      mcpIds.add(response.mcpId);
      await callUnary(client, method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId: response.decisionId }));
    }
    return mcpIds;
  }

  async function routeOf(mcpId: string): Promise<{ readonly weight: number; readonly state: RouteState } | undefined> {
    const { response } = await callUnary(client, method.getRoutes, create(GetRoutesRequestSchema));
    return response?.routes?.table?.routes.find((route) => route.mcpId === mcpId);
  }

  const at = (...args: readonly string[]) => runCli([...args, "--target", coordinator.target]);

  beforeAll(async () => {
    coordinator = await startCoordinatorProcess();
    client = openGrpcClient(coordinator.target);
    await connect("one");
    await connect("two");
  });
  afterAll(async () => {
    for (const stream of streams) stream.cancel();
    client?.close();
    await coordinator?.stop();
  });

  it("asks for an MCP, hears whom and how likely, and which flag is wrong", async () => {
    const told = await at("select", "--type", "ocr", "--bytes", "5000", "--exclude", "two", "--keep-candidates", "--json");
    expect([told.code, told.stderr]).toEqual([0, ""]);
    const selected = JSON.parse(told.stdout);
    expect(selected).toMatchObject({ mcpId: "one", propensity: 1, candidateCount: 2, drawableCount: 1 });
    const text = await at("select", "--type", "ocr");
    const [mcpId, decisionId = ""] = text.stdout.split("\n");
    expect(["one", "two"]).toContain(mcpId);
    expect(text.stderr).toContain("could be drawn; the place is held for");
    const explained = await at("explain", decisionId, "--json");
    expect([explained.code, JSON.parse(explained.stdout).chosen]).toEqual([0, mcpId]);

    const wrong = await at("select", "--bytes", "many");
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("--bytes must be a whole number")]);
    const nobody = await at("select", "--exclude", "one", "--exclude", "two");
    expect([nobody.code, nobody.stderr]).toEqual([5, expect.stringContaining("no MCP that could serve the request")]);
    expect((await at("explain", mintUuidV7())).code).toBe(3);
  });

  it("drains an MCP: it gets neither requests nor weight until that is taken back, and the changes say what and why", async () => {
    const drained = await at("routing-config", "set", "--mcp", "one", "--drain", "--reason", "new model", "--json");
    expect([drained.code, JSON.parse(drained.stdout)]).toMatchObject([0, { mcps: [{ mcpId: "one", drain: true }] }]);
    expect(await chosen(20)).toEqual(new Set(["two"]));
    await expect.poll(() => routeOf("one")).toMatchObject({ weight: 0, state: RouteState.DRAINING });
    expect((await routeOf("two"))?.weight).toBe(10_000);

    const shown = await at("routing-config", "get", "--changes", "5");
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/^one +- +- +- +- +true$/m);
    expect(shown.stdout).toMatch(/^change .*new model$/m);
    expect(shown.stdout).toContain("mcps[one].drain: - → true");

    const back = await at("routing-config", "set", "--mcp", "one", "--no-drain");
    expect(back.code).toBe(0);
    await expect.poll(() => chosen(20)).toContain("one");
    await expect.poll(async () => (await routeOf("one"))?.weight ?? 0).toBeGreaterThan(0);
    const reset = await at("routing-config", "set", "--reset", "one", "--json");
    expect([reset.code, JSON.parse(reset.stdout).mcps]).toEqual([0, []]);
  });

  it("says what a request to an MCP costs: the dearer one loses for it, and the explanation shows how much", async () => {
    const priced = await at("routing-config", "set", "--mcp", "one", "--cost", "0.25", "--reason", "price list", "--json");
    expect([priced.code, JSON.parse(priced.stdout)]).toMatchObject([0, { mcps: [{ mcpId: "one", costPerRequest: 0.25 }] }]);
    expect((await at("routing-config", "set", "--mcp", "two", "--cost", "0.05")).code).toBe(0);
    const shown = await at("routing-config", "get", "--changes", "5");
    expect(shown.stdout).toMatch(/^one +- +- +- +0.25 +-$/m);
    expect(shown.stdout).toContain("mcps[one].cost_per_request: - → 0.25");

    const [, decisionId = ""] = (await at("select", "--type", "ocr", "--keep-candidates")).stdout.split("\n");
    const explained = JSON.parse((await at("explain", decisionId, "--json")).stdout) as DecisionView;
    const costs = explained.candidates?.map(({ mcpId, signals, factors }) => [
      ...[mcpId, signals?.cost],
      factors.find(({ name }) => name === "cost")?.contribution,
    ]);
    expect(costs).toEqual([
      ["one", 0.25, -0.1],
      ["two", 0.05, expect.closeTo(-0.02, 12)],
    ]);

    for (const wrong of ["-1", "1e3", "NaN", "2000000000"]) {
      const told = await at("routing-config", "set", "--mcp", "one", `--cost=${wrong}`);
      expect([told.code, told.stderr]).toEqual([2, expect.stringMatching(/cost_per_request|--cost must be a number/)]);
    }
    expect((await at("routing-config", "set", "--reset", "one", "--reset", "two")).code).toBe(0);
  });

  it("is told which flag, which field and which version stand in the way of a change", async () => {
    const lonely = await at("routing-config", "set", "--weight", "5");
    expect([lonely.code, lonely.stderr]).toEqual([2, expect.stringContaining("need --mcp <id>")]);
    const negative = await at("routing-config", "set", "--mcp", "one", "--weight=-1");
    expect([negative.code, negative.stderr]).toEqual([2, expect.stringContaining("mcps[0].weight")]);
    const unknown = await at("routing-config", "set", "--policy", "nobody/1");
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("policy_id")]);
    const late = await at("routing-config", "set", "--policy", "random/1", "--if-version", "999");
    expect([late.code, late.stderr]).toEqual([1, expect.stringContaining("version")]);
  });

  it("sees who refuses a table and why, how far behind that leaves it, and how many acks answered nothing", async () => {
    const refuser = await connect("refuser", [Capability.ROUTING]);
    const nonce = await refuser.until((frames) => {
      for (const frame of frames) {
        if (frame.case === "routingUpdate") return frame.value.nonce;
        if (frame.case === "welcome" && frame.value.routing !== undefined) return frame.value.routing.nonce;
      }
      return undefined;
    });
    const rejected = [{ mcpId: "two", reason: "no way there" }];
    refuser.send({ case: "routingAck", value: { nonce, status: ApplyStatus.REJECTED, rejection: RoutingRejection.CONTENT, rejected } });
    for (const never of ["never-sent", "", nonce]) {
      refuser.send({
        case: "routingAck",
        value: { nonce: never, status: ApplyStatus.APPLIED, applied: { term: 9n, version: 9n, digest: 9n } },
      });
    }
    // The stream is none the worse for it.
    refuser.send({ case: "event", value: makeEvent({ mcpId: "refuser" }) });
    expect((await refuser.untilAcks(1)).map(({ status }) => status)).toEqual([EventStatus.STORED]);

    const report = async () => JSON.parse((await at("routes", "--json")).stdout);
    await expect
      .poll(async () => (await report()).producers)
      .toContainEqual(
        expect.objectContaining({
          producerId: "refuser-p",
          mcpId: "refuser",
          status: "rejected",
          rejection: "content",
          version: 0,
          verdicts: rejected,
        }),
      );
    const { producers, plane, table } = await report();
    const { lag } = producers.find((one: { readonly mcpId: string }) => one.mcpId === "refuser");
    expect(lag).toBe(table.version);
    expect(plane).toMatchObject({ acksIgnored: 3, rejected: [{ mcpId: "refuser", reason: "two: no way there", mcps: 1 }] });
    const { code, stdout } = await at("routes", "--why");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^rejected +[0-9a-f]{16} by refuser: two: no way there$/m);
    expect(stdout).toMatch(/^refuser-p +refuser +rejected +0 \(\d+ behind\).* two: no way there$/m);
    expect(stdout).toContain("3 acks ignored");
  });
});
