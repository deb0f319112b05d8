import { pino } from "pino";
import { expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { Capability, DrainReason } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Principal } from "../../src/auth/principal.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { streamInteractions } from "../../src/rpc/stream-interactions.js";
import { noonMs } from "../support/draft.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { makeFleet } from "../support/make-fleet.js";
import { RawStream } from "../support/raw-stream.js";
import { ocrKey, startRpcPorts } from "../support/rpc-ports.js";

it("a key is replaced on the stream before it expires; a stream that keeps the old one ends UNAUTHENTICATED at the expiry", async () => {
  const expiring: Principal = { kind: "key", keyId: "k-1", mcpId: "ocr", expiresAtMs: noonMs + 300_000 };
  const ring = new Map<string, Principal>([
    ["Bearer next", { kind: "key", keyId: "k-2", mcpId: "ocr" }],
    ["Bearer foreign", { kind: "key", keyId: "k-3", mcpId: "other" }],
  ]);
  const authenticate = (authorization: string): Principal => {
    const found = ring.get(authorization);
    if (found === undefined) throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
    return found;
  };
  const { clock, store, fleet } = makeFleet({ authenticate });
  const admit: typeof fleet.admit = (_, transport) => fleet.admit(expiring, transport);
  await using ports = await startRpcPorts({ stream: streamInteractions(pino({ level: "silent" }), { admit }) });
  const client = openGrpcClient(ports.grpcAddress);
  const [careful, careless] = [new RawStream(client, { authorization: ocrKey }), new RawStream(client, { authorization: ocrKey })];
  for (const stream of [careful, careless]) {
    stream.send({ case: "hello", value: { mcpId: "ocr", capabilities: [Capability.DRAIN] } });
    await stream.first("welcome");
  }
  await clock.advance(300_000 - limits.credentialNoticeMs);
  for (const stream of [careful, careless]) {
    expect((await stream.first("drainNotice")).value).toMatchObject({
      reason: DrainReason.CREDENTIAL_EXPIRY,
      deadline: { seconds: BigInt(limits.credentialNoticeMs / 1000) },
      newConnection: false,
    });
  }
  careful.send({ case: "credentialRefresh", value: { token: "foreign" } });
  expect((await careful.first("credentialRefreshAck")).value).toMatchObject({
    refusalReason: "MCP_NOT_ALLOWED",
    expiresAt: { seconds: BigInt(noonMs / 1000 + 300) },
  });
  careful.send({ case: "credentialRefresh", value: { token: "next" } });
  const accepted = await careful.until((frames) =>
    frames.find((frame) => frame.case === "credentialRefreshAck" && frame.value.refusalReason === ""),
  );
  expect(accepted.case === "credentialRefreshAck" && accepted.value.expiresAt).toBeUndefined();
  await clock.advance(limits.credentialNoticeMs);
  expect((await careless.ended).code).toBe(16);
  careful.send({ case: "event", value: makeEvent({ mcpId: "ocr", occurredAt: { seconds: BigInt(noonMs / 1000) } }) });
  await expect.poll(() => store.calls.length).toBe(1);
  await store.last.resolve();
  expect((await careful.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
  careful.halfClose();
  expect((await careful.ended).code).toBe(0);
  client.close();
  fleet.close();
});
