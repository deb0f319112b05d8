import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { createGrpcTransport } from "../../src/client/transports/grpc.js";
import type { OutgoingEvent } from "../../src/client/transports/transport.js";
import { systemClock } from "../../src/platform/clock.js";
import { seededRng } from "../../src/platform/rng.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { startScriptedCoordinator } from "../support/scripted-coordinator.js";

const outgoing = (interactionId: string): OutgoingEvent => {
  const eventId = mintUuidV7();
  return { eventId, event: { eventId, interactionId } };
};

test("when all that were suspected of ending a stream are through, what came meanwhile travels together again", async () => {
  const frames: string[] = [];
  const settled: string[] = [];
  const scripted = await startScriptedCoordinator((call, frame) => {
    if (frame === undefined) return call.end();
    if (frame.case === "hello") {
      const flowControl = { version: 1n, maxUnackedEvents: 100, maxUnackedBytes: 1n << 20n };
      return call.send({ case: "welcome", value: { flowControl, capabilities: [Capability.FLOW_CONTROL] } });
    }
    const events = frame.case === "event" ? [frame.value] : frame.case === "eventBatch" ? frame.value.events : [];
    if (events.length === 0) return;
    // What is in the way takes no more than a frame of some size, and says so of the first one.
    if (call.index === 0) return call.fail(status.RESOURCE_EXHAUSTED, "frame too large");
    const ids = events.map(({ interactionId }) => interactionId);
    frames.push(ids.join("+"));
    if (ids[0] === "a") transport.offer([outgoing("c"), outgoing("d")]);
    for (const { sequence } of events) call.send({ case: "eventAck", value: { sequence, status: EventStatus.STORED } });
  });
  const transport = createGrpcTransport(
    { endpoint: { target: scripted.target, key: undefined }, mcpId: "ocr", clock: systemClock, rng: seededRng(1), maxRetries: 1 },
    { onSettled: ({ eventId }) => void settled.push(eventId), onChange: () => undefined },
  );
  transport.offer([outgoing("a"), outgoing("b")]);
  await expect.poll(() => settled.length).toBe(4);
  expect(frames).toEqual(["a", "b", "c+d"]);
  await transport.stop(0);
  scripted.stop();
});
