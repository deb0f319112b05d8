import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  ApplyStatus,
  PublishedRoutesSchema,
  RouteState,
  RoutingAckSchema,
  RoutingRejection,
  RoutingUpdateSchema,
} from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { limits } from "../../../src/platform/limits.js";
import { routeStateNumbers, tableDigest } from "../../../src/smart-router/digest.js";
import type { PublishedRoutes, Route } from "../../../src/smart-router/table.js";
import { producerRoutesToProto, publishedRoutesToProto, routingAckFromProto, routingUpdateFromTable } from "../../../src/wire/routes.js";

const table: readonly Route[] = [
  { mcpId: "a", weight: 6_000, state: "active", maxConcurrent: 10, priority: 0, why: [{ name: "throughput", contribution: 1.5 }] },
  { mcpId: "b", weight: 4_000, state: "warming", maxConcurrent: 4, priority: 1, why: [{ name: "fleet_mean", contribution: -0.25 }] },
];
const published: PublishedRoutes = {
  term: 3,
  version: 42,
  digest: tableDigest(table),
  table,
  policyId: "a58-wrr/1",
  reason: "change",
  publishedAtMs: 1_795_000_000_123,
  validForMs: 180_000,
};

/** An ack as it comes off the wire. `status` may be a number that the contract does not have. */
function ackOf(more: Parameters<typeof create<typeof RoutingAckSchema>>[1] = {}) {
  return fromBinary(
    RoutingAckSchema,
    toBinary(RoutingAckSchema, create(RoutingAckSchema, { nonce: "n", status: ApplyStatus.APPLIED, ...more })),
  );
}

describe("a table on the wire", () => {
  test("carries everything, the digest as a number and the nonce of its stream", () => {
    const update = fromBinary(RoutingUpdateSchema, toBinary(RoutingUpdateSchema, routingUpdateFromTable(published, "n7")));
    expect(update).toMatchObject({ nonce: "n7", term: 3n, version: 42n, policyId: "a58-wrr/1", reason: "change" });
    expect(update.digest.toString(16).padStart(16, "0")).toBe(published.digest);
    expect(update.validFor).toMatchObject({ seconds: 180n, nanos: 0 });
    expect(update.body.case === "full" && update.body.value.routes).toMatchObject([
      {
        mcpId: "a",
        weight: 6_000,
        state: RouteState.ACTIVE,
        maxConcurrent: 10,
        priority: 0,
        why: [{ name: "throughput", contribution: 1.5 }],
      },
      {
        mcpId: "b",
        weight: 4_000,
        state: RouteState.WARMING,
        maxConcurrent: 4,
        priority: 1,
        why: [{ name: "fleet_mean", contribution: -0.25 }],
      },
    ]);
  });

  test("is built once for all streams of one publication", () => {
    expect(routingUpdateFromTable(published, "1").body.value).toBe(routingUpdateFromTable(published, "2").body.value);
  });

  test("shows the same to those without a session, and when it was committed", () => {
    const shown = fromBinary(PublishedRoutesSchema, toBinary(PublishedRoutesSchema, publishedRoutesToProto(published)));
    expect(shown).toMatchObject({ term: 3n, version: 42n, reason: "change", publishedAt: { seconds: 1_795_000_000n, nanos: 123_000_000 } });
    expect(shown.table?.routes).toHaveLength(2);
  });

  test("may be empty, and may have a digest with the highest bit set", () => {
    const update = routingUpdateFromTable({ ...published, table: [], digest: "ffffffffffffffff" }, "n");
    expect(fromBinary(RoutingUpdateSchema, toBinary(RoutingUpdateSchema, update)).digest).toBe(2n ** 64n - 1n);
    expect(update.body).toMatchObject({ case: "full", value: { routes: [] } });
  });

  test("is digested over the numbers of the contract's states", () => {
    const { ACTIVE, WARMING, DEGRADED, DRAINING, EJECTED, DISCONNECTED } = RouteState;
    expect(Object.values(routeStateNumbers)).toEqual([ACTIVE, WARMING, DEGRADED, DRAINING, EJECTED, DISCONNECTED]);
  });
});

describe("a routing ack", () => {
  test.each([
    [ApplyStatus.RECEIVED, "received"],
    [ApplyStatus.APPLIED, "applied"],
    [ApplyStatus.REJECTED, "rejected"],
    [ApplyStatus.EXPIRED, "expired"],
  ] as const)("of status %i means %s, there and back", (number, status) => {
    expect(routingAckFromProto(ackOf({ status: number }))?.status).toBe(status);
    const said = {
      ...{ answered: { term: 1, version: 3, digest: "ff" }, rejection: "out_of_sync" as const, verdicts: [{ mcpId: "a", reason: "no" }] },
      ...{ applyTimeMs: 1.5, ackDelayMs: undefined },
    } as const;
    const shown = producerRoutesToProto({
      producerId: "p",
      mcpId: "m",
      status,
      term: 1,
      version: 2,
      digest: "",
      ackedAtMs: 5_000,
      ...said,
    });
    expect(shown).toMatchObject({
      producerId: "p",
      mcpId: "m",
      status: number,
      applied: { term: 1n, version: 2n, digest: 0n },
      ackedAt: { seconds: 5n },
      answered: { term: 1n, version: 3n, digest: 255n },
      rejection: RoutingRejection.OUT_OF_SYNC,
      rejected: [{ mcpId: "a", reason: "no" }],
      applyTime: { seconds: 0n, nanos: 1_500_000 },
    });
  });

  test("tells what is in force, what was refused, and how long it took", () => {
    const ack = ackOf({
      applied: { term: 3n, version: 42n, digest: 255n },
      rejected: [{ mcpId: "a", reason: "unknown host" }],
      applyTime: { seconds: 1n, nanos: 500_000 },
    });
    expect(routingAckFromProto(ack)).toEqual({
      rejection: "content",
      ...{ nonce: "n", status: "applied", applyTimeMs: 1_000.5 },
      applied: { term: 3, version: 42, digest: "00000000000000ff" },
      rejected: [{ mcpId: "a", reason: "unknown host" }],
    });
  });

  test.each([ApplyStatus.UNSPECIFIED, 17 as ApplyStatus])("of status %i is none that is known here", (status) => {
    // The cast is what a newer peer does: it sends a number that this contract does not have yet.
    expect(routingAckFromProto(ackOf({ status }))).toBeUndefined();
  });

  test("names no table with numbers that no table of ours can have", () => {
    expect(routingAckFromProto(ackOf({ applied: { term: 2n ** 63n, version: 1n } }))?.applied).toBeUndefined();
    expect(routingAckFromProto(ackOf())?.applied).toBeUndefined();
  });

  test.each([
    ["negative", { seconds: -1n, nanos: 0 }],
    ["of 100 years", { seconds: 3_155_760_000n, nanos: 0 }],
  ])("with a time that is %s tells no time", (_, applyTime) => {
    expect(routingAckFromProto(ackOf({ applyTime }))?.applyTimeMs).toBeUndefined();
  });

  test("is cut to its bounds between characters, and holds no NUL", () => {
    const rejected = Array.from({ length: 100 }, () => ({ mcpId: "a\0b", reason: "\u{1f600}".repeat(100) }));
    const verdicts = routingAckFromProto(ackOf({ rejected }))?.rejected ?? [];
    expect(verdicts).toHaveLength(limits.routeVerdictMax);
    expect(verdicts[0]).toEqual({ mcpId: "a\ufffdb", reason: "\u{1f600}".repeat(64) });
  });
});
