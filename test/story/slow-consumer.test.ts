import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { limits } from "../../src/platform/limits.js";
import { streamInteractions } from "../../src/rpc/stream-interactions.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeFleet } from "../support/make-fleet.js";
import { RawStream } from "../support/raw-stream.js";
import { ocrKey, startRpcPorts } from "../support/rpc-ports.js";

describe("a client that sends and never reads", () => {
  it("is ended as a slow consumer, then reset, and leaves nothing behind", async () => {
    const { clock, fleet } = makeFleet();
    const log = pino({ level: "silent" });
    await using ports = await startRpcPorts({ stream: streamInteractions(log, fleet) });
    const client = openGrpcClient(ports.grpcAddress);
    const stream = new RawStream(client, { authorization: ocrKey });
    stream.pause();
    // Answers that nobody reads, until neither the windows of HTTP/2 nor the call take more: every event is refused, each with a long verdict.
    const labels = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`${"k".repeat(50)}${i}`, "\0"]));
    const refused = { case: "eventBatch" as const, value: { events: Array.from({ length: 200 }, () => ({ interactionId: "i", labels })) } };
    for (let sent = 0; sent < 60; sent += 1) {
      stream.send(refused);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(fleet.size).toBe(1);
    await clock.advance(limits.slowConsumerMaxMs + 1_000);
    expect(fleet.size).toBe(1);
    await clock.advance(limits.slowConsumerMaxMs + 1_000);
    expect(fleet.size).toBe(0);
    expect((await stream.ended).code).not.toBe(0);
    client.close();
    fleet.close();
  });
});
