import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { findGrpcurl, runBufCurl, runGrpcurl } from "../support/grpcurl.js";
import { RawStream } from "../support/raw-stream.js";

const interactionService = "mcp.coordinator.v1.InteractionService";
const routingService = "mcp.coordinator.v1.RoutingService";
const hasGrpcurl = (await findGrpcurl()).kind === "found";
const now = () => new Date().toISOString();

/** What differs from run to run, by a word for what it is. */
function normalise(text: string): string {
  return text
    .replaceAll(/"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"/g, '"<uuid>"')
    .replaceAll(/"\d{4}-\d\d-\d\dT[0-9:.]+Z"/g, '"<time>"')
    .replaceAll(/"coordinatorId": "[^"]+"/g, '"coordinatorId": "<coordinator>"')
    .replaceAll(/"(queueWait|commitTime)": "[^"]+"/g, '"$1": "<duration>"')
    .replaceAll(/127\.0\.0\.1:\d+/g, "<target>")
    .replaceAll(/("?requestId"?: )"[^"]+"/g, '$1"<request>"')
    .replaceAll(/"(seed|policyHash|weightsTerm|weightsVersion)": ("?)[0-9a-f]+"?/g, '"$1": $2<$1>$2')
    .replaceAll(/("(?:name|factor)": "[^"]+",\n\s+"(?:value|contribution)": )-?[0-9.e+-]+/g, "$1<number>")
    .replaceAll(
      /"(score|slowStart|capacity|latencyMs|tail|errorRate|quality|qualitySigma|p50Ms|p90Ms|p95Ms|deadlineMs)": -?[0-9.e+-]+/g,
      '"$1": <number>',
    );
}

describe("a person with grpcurl and nothing but the port", () => {
  let coordinator: RunningCoordinator;
  const grpcurl = async (args: readonly string[], stdin = "") => {
    const ran = await runGrpcurl(["-plaintext", ...args], stdin);
    return normalise(`exit ${ran.code}\n${ran.stdout}${ran.stderr}`);
  };
  const story = it.runIf(hasGrpcurl);

  beforeAll(async () => {
    coordinator = await startCoordinatorProcess();
  });
  afterAll(() => coordinator?.stop());

  story("lists the services", async () => {
    await expect(await grpcurl([coordinator.target, "list"])).toMatchFileSnapshot("golden/list.txt");
  });

  story("reads the manual of the stream", async () => {
    await expect(await grpcurl([coordinator.target, "describe", `${interactionService}.StreamInteractions`])).toMatchFileSnapshot(
      "golden/describe-stream.txt",
    );
    await expect(await grpcurl([coordinator.target, "describe", "mcp.coordinator.v1.EventAck"])).toMatchFileSnapshot(
      "golden/describe-ack.txt",
    );
  });

  story("reports one event with one line", async () => {
    const event = { event: { mcpId: "demo", interactionId: "one-line", occurredAt: now(), start: { requestType: "search" } } };
    await expect(
      await grpcurl(["-d", JSON.stringify(event), coordinator.target, `${interactionService}/StreamInteractions`]),
    ).toMatchFileSnapshot("golden/one-line.txt");
  });

  story("types a session of JSON lines, with 64-bit numbers as numbers or strings, and ends it with Ctrl-D", async () => {
    const at = (second: number) => new Date(Date.now() - 10_000 + second * 1000).toISOString();
    const lines = [
      { hello: { mcpId: "demo", producerId: "by-hand", ackMode: "ACK_MODE_COALESCED" } },
      { event: { sequence: 1, interactionId: "typed", occurredAt: at(1), start: { requestType: "search", parameters: { limit: 3 } } } },
      { event: { sequence: "2", interactionId: "typed", occurredAt: at(2), progress: { fraction: 0.5, message: "half" } } },
      { event: { sequence: 3, interactionId: "typed", occurredAt: at(3), complete: { processingTime: "1.5s", qualityScore: 0.9 } } },
    ];
    const typed = await grpcurl(
      ["-d", "@", coordinator.target, `${interactionService}/StreamInteractions`],
      lines.map((line) => JSON.stringify(line)).join("\n"),
    );
    expect(typed).toMatch(/^exit 0/);
    expect(typed).toMatch(/"resolvedThroughSequence": "3"/);
    expect(typed).toMatch(/"routing|"welcome"/);
    await expect(
      await grpcurl([
        "-d",
        '{"mcpId":"demo","interactionId":"typed","includeEvents":true}',
        coordinator.target,
        `${interactionService}/GetInteraction`,
      ]),
    ).toMatchFileSnapshot("golden/get-interaction.txt");
  });

  story("sees what is wrong with an event, and with a call", async () => {
    const bad = { event: { mcpId: "demo", interactionId: "", occurredAt: now(), complete: { qualityScore: 1.5 } } };
    await expect(
      await grpcurl(["-d", JSON.stringify(bad), coordinator.target, `${interactionService}/StreamInteractions`]),
    ).toMatchFileSnapshot("golden/bad-event.txt");
    await expect(await grpcurl(["-d", "{}", coordinator.target, `${interactionService}/ReportInteractions`])).toMatchFileSnapshot(
      "golden/bad-call.txt",
    );
    await expect(
      await grpcurl(["-d", '{"mcpId":"demo","interactionId":"nobody"}', coordinator.target, `${interactionService}/GetInteraction`]),
    ).toMatchFileSnapshot("golden/not-found.txt");
  });

  story("has a request routed, and asks why", async () => {
    const mcpClient = openGrpcClient(coordinator.target);
    const mcp = new RawStream(mcpClient);
    mcp.send({ case: "hello", value: { mcpId: "routed-by-hand", producerId: "p" } });
    await mcp.first("welcome");
    const ask = ["-d", '{"request":{"requestType":"search"},"keepCandidates":true}', coordinator.target];
    const selected = await runGrpcurl(["-plaintext", ...ask, `${routingService}/SelectMcp`]);
    expect(selected.code).toBe(0);
    const { decisionId, mcpId } = JSON.parse(selected.stdout) as { decisionId: string; mcpId: string };
    expect(mcpId).toBe("routed-by-hand");
    await expect(normalise(`exit ${selected.code}\n${selected.stdout}`)).toMatchFileSnapshot("golden/select-mcp.txt");
    const explain = ["-d", JSON.stringify({ decisionId }), coordinator.target, `${routingService}/ExplainDecision`];
    await expect(await grpcurl(explain)).toMatchFileSnapshot("golden/explain-decision.txt");
    const nobody = ["-d", '{"request":{"requestType":"search","capabilities":["fly"]}}', coordinator.target];
    await expect(await grpcurl([...nobody, `${routingService}/SelectMcp`])).toMatchFileSnapshot("golden/select-nobody.txt");
    mcp.halfClose();
    await mcp.ended;
    mcpClient.close();
  });

  story("asks for health by service", async () => {
    await expect(
      await grpcurl(["-d", `{"service":"${interactionService}"}`, coordinator.target, "grpc.health.v1.Health/Check"]),
    ).toMatchFileSnapshot("golden/health.txt");
  });

  it("uses buf curl over gRPC and over Connect alike", async () => {
    const data = JSON.stringify({ events: [{ mcpId: "demo", interactionId: "buf", occurredAt: now(), start: {} }] });
    const overGrpc = await runBufCurl([
      "--protocol",
      "grpc",
      "--http2-prior-knowledge",
      "-d",
      data,
      `http://${coordinator.target}/${interactionService}/ReportInteractions`,
    ]);
    expect(JSON.parse(overGrpc.stdout).acks[0].status).toBe("EVENT_STATUS_STORED");
    const overConnect = await runBufCurl([
      "--schema",
      "proto",
      "-d",
      data,
      `${coordinator.webUrl}/${interactionService}/ReportInteractions`,
    ]);
    expect(JSON.parse(overConnect.stdout).acks[0].status).toBe("EVENT_STATUS_DUPLICATE");
  });

  it("uses plain curl with JSON", async () => {
    const response = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.QueryService/GetPerformanceMetrics`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"timeRange":"last_24h"}',
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toHaveProperty("timestamp");
  });
});
