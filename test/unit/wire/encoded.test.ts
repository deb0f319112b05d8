import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InteractionService, StreamInteractionsResponseSchema } from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { RoutingUpdateSchema } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { grpcDefinition } from "../../../src/rpc/grpc-definition.js";
import { tableDigest } from "../../../src/smart-router/digest.js";
import type { PublishedRoutes, Route } from "../../../src/smart-router/table.js";
import { encodedOf } from "../../../src/wire/encoded.js";
import { routingUpdateFrame, type Welcome, welcomeFrame } from "../../../src/wire/frame.js";
import { routingUpdateFromTable } from "../../../src/wire/routes.js";
import type { ServerFrame } from "../../../src/wire/server-frame.js";

/** The bytes that a stream gets. */
function sent(frame: ServerFrame): Uint8Array {
  const method = grpcDefinition(InteractionService).StreamInteractions;
  if (method === undefined) throw new Error("the contract has no StreamInteractions");
  return Uint8Array.from(method.responseSerialize(frame));
}

const routes: fc.Arbitrary<readonly Route[]> = fc.uniqueArray(
  fc.record({
    mcpId: fc.string({ minLength: 1, maxLength: 20 }),
    weight: fc.nat(10_000),
    state: fc.constantFrom("active", "warming", "draining"),
    maxConcurrent: fc.nat(1_000),
    priority: fc.nat(3),
    why: fc.array(fc.record({ name: fc.constantFrom("latency", "errors"), contribution: fc.double({ noNaN: true }) }), { maxLength: 3 }),
  }),
  { selector: ({ mcpId }) => mcpId, maxLength: 30 },
);

function published(table: readonly Route[], version: number): PublishedRoutes {
  const digest = tableDigest(table);
  return { term: 3, version, digest, table, policyId: "test/1", reason: "change", publishedAtMs: 0, validForMs: 180_000 };
}

const nonces = fc.string({ maxLength: 12 });

describe("an update that is encoded once for all streams", () => {
  test("has the bytes that the encoder would have made, whole or as a delta, whatever the nonce", () => {
    fc.assert(
      fc.property(routes, routes, nonces, nonces, fc.boolean(), (before, after, one, other, hasBase) => {
        const table = published(after, 8);
        const base = hasBase ? published(before, 7) : undefined;
        for (const nonce of [one, other, one]) {
          const update = routingUpdateFromTable(table, nonce, base);
          expect(encodedOf(update)).toEqual(toBinary(RoutingUpdateSchema, update));
          const frame = routingUpdateFrame(update);
          expect(sent(frame)).toEqual(toBinary(StreamInteractionsResponseSchema, frame));
          expect(encodedOf(frame)).toBeDefined();
        }
      }),
    );
  });

  test("goes with Welcome as the same message", () => {
    const update = routingUpdateFromTable(published([], 9), "r1");
    const frame = welcomeFrame({ ...welcome, routing: update });
    expect(encodedOf(frame)).toBeDefined();
    const received = fromBinary(StreamInteractionsResponseSchema, sent(frame));
    expect(received).toEqual(fromBinary(StreamInteractionsResponseSchema, toBinary(StreamInteractionsResponseSchema, frame)));
    expect(received.frame).toMatchObject({
      case: "welcome",
      value: { sessionId: "s1", authenticatedMcpId: "ocr", routing: { nonce: "r1", version: 9n } },
    });
  });

  test("is encoded as usual when it did not come from a table", () => {
    const frame = routingUpdateFrame(create(RoutingUpdateSchema, { nonce: "n", version: 5n }));
    expect(encodedOf(frame)).toBeUndefined();
    expect(sent(frame)).toEqual(toBinary(StreamInteractionsResponseSchema, frame));
    expect(encodedOf(welcomeFrame({ ...welcome, routing: undefined }))).toBeUndefined();
  });
});

const welcome: Welcome = {
  sessionId: "s1",
  coordinatorId: "c1",
  producerEpoch: 4,
  resumeAfterSequence: 17n,
  resumeStatus: "resumed",
  capabilities: new Set(["routing"]),
  settings: {
    ...{ version: 1, maxBatchEvents: 100, maxEventBytes: 1_000, heartbeatIntervalMs: 5_000 },
    ...{ dedupeHorizonMs: 60_000, maxClockSkewMs: 1_000, maxSessionAgeMs: 3_600_000 },
  },
  window: { version: 1, maxEvents: 100, maxBytes: 1_000, pressure: "none" },
  routing: undefined,
  serverTimeMs: 1_795_000_000_123,
  authenticatedMcpId: "ocr",
};
