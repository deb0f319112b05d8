import { expect, test } from "vitest";
import { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { createReporter } from "../../src/client/index.js";
import { startScriptedCoordinator } from "../support/scripted-coordinator.js";

test("functions of the owner that throw on the stream end neither the process nor the stream", async () => {
  const loads: number[] = [];
  const acks: ApplyStatus[] = [];
  const coordinator = await startScriptedCoordinator((call, frame) => {
    if (frame?.case === "hello") {
      const config = { heartbeatInterval: { nanos: 200_000_000 } };
      call.send({ case: "welcome", value: { capabilities: [Capability.HEARTBEAT, Capability.MCP_CONFIG], config } });
      call.send({ case: "mcpConfigUpdate", value: { nonce: "n-1", config: { version: 1n } } });
    }
    if (frame?.case === "heartbeat") call.send({ case: "heartbeatAck", value: { id: frame.value.id } });
    if (frame?.case === "loadReport") loads.push(frame.value.inFlight);
    if (frame?.case === "mcpConfigAck") acks.push(frame.value.status);
    if (frame === undefined) call.end();
  });
  const answers = [
    () => {
      throw new Error("the pool is gone");
    },
    () => ({ inFlight: 0.5, queued: Number.NaN, utilization: 0 }),
  ];
  const reporter = createReporter({
    ...{ mcpId: "ocr", transport: "grpc", grpcTarget: coordinator.target, localCachePath: ":memory:", closeMaxMs: 0 },
    load: () => answers.shift()?.() ?? { inFlight: 3, queued: 0, utilization: 0.5 },
    onMcpConfig: () => {
      throw new Error("no such setting");
    },
  });
  await expect.poll(() => loads[0]).toBe(3);
  await expect.poll(() => acks).toEqual([ApplyStatus.REJECTED]);
  expect(reporter.state.transports).toMatchObject([{ name: "grpc", state: "up" }]);
  await reporter.close();
  coordinator.stop();
});
