import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  ApplyStatus,
  RouteState,
  type RoutingAck,
  RoutingRejection,
  type RoutingUpdateSchema,
} from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { Capability, type Heartbeat } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { LocalRouter } from "../../src/client/local-router.js";
import type { StreamSessionOptions } from "../../src/client/options.js";
import { routeDigest } from "../../src/client/route-digest.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { startScriptedCoordinator } from "../support/scripted-coordinator.js";

type Update = MessageInitShape<typeof RoutingUpdateSchema>;
type Routes = Readonly<Record<string, number>>;

const listOf = (routes: Routes) => Object.entries(routes).map(([mcpId, weight]) => ({ mcpId, weight, state: RouteState.ACTIVE }));
const digestOf = (routes: Routes) => routeDigest(listOf(routes).map((route) => ({ ...route, stateNumber: route.state })));
const full = (term: bigint, version: bigint, routes: Routes, more: Update = {}): Update => ({
  ...{ term, version, digest: digestOf(routes), body: { case: "full", value: { routes: listOf(routes) } } },
  ...more,
});
const delta = (term: bigint, version: bigint, baseVersion: bigint, upsert: Routes, remove: string[], result: Routes): Update => ({
  ...{ term, version, digest: digestOf(result) },
  body: { case: "delta", value: { baseVersion, upsert: listOf(upsert), remove } },
});

/** Sends the updates one after the other, each when the one before is answered; resolves with the answers. */
async function answersTo(
  updates: readonly Update[],
  options: Partial<StreamSessionOptions> = {},
): Promise<{ acks: readonly RoutingAck[]; session: StreamSession }> {
  const acks: RoutingAck[] = [];
  const coordinator = await startScriptedCoordinator((call, frame) => {
    const next = () => {
      const update = updates[acks.length];
      if (update !== undefined) call.send({ case: "routingUpdate", value: { nonce: `n${acks.length}`, ...update } });
    };
    if (frame?.case === "hello") {
      call.send({ case: "welcome", value: { capabilities: [Capability.ROUTING] } });
      next();
    } else if (frame?.case === "routingAck") {
      acks.push(frame.value);
      next();
    } else if (frame === undefined) call.end();
  });
  const session = createStreamSession({
    endpoint: { target: coordinator.target, key: undefined },
    mcpId: "b",
    closeMaxMs: 500,
    ...options,
  });
  try {
    await expect.poll(() => acks.length).toBe(updates.length);
    return { acks, session };
  } finally {
    await session.close();
    coordinator.stop();
  }
}

const summary = (acks: readonly RoutingAck[]) =>
  acks.map(({ nonce, status, rejection, applied }) => [nonce, ApplyStatus[status], RoutingRejection[rejection], applied?.version]);
const ab = { a: 4_000, b: 6_000 };

test("whatever a coordinator sends, a client applies only what is newer and whole, and says why not", async () => {
  const { acks } = await answersTo([
    full(5n, 10n, ab),
    delta(5n, 11n, 10n, { a: 5_000, b: 5_000 }, [], { a: 5_000, b: 5_000 }),
    full(5n, 10n, ab), // late
    full(5n, 11n, { a: 5_000, b: 5_000 }), // twice
    delta(5n, 13n, 12n, { a: 1 }, [], { a: 1 }), // a base that is not there
    delta(5n, 13n, 11n, { a: 4_000 }, [], ab), // does not lead to what its digest says
    full(5n, 13n, ab, { digest: 7n }),
    full(4n, 99n, ab), // a publisher that was replaced
    full(5n, 14n, { a: 1 }), // not a whole table
    delta(6n, 15n, 11n, ab, [], ab), // another term has another base
    { term: 5n, version: 16n, digest: 0n }, // nothing at all
    delta(5n, 17n, 11n, { c: 5_000 }, ["b"], { a: 5_000, c: 5_000 }),
  ]);
  expect(summary(acks)).toEqual([
    ["n0", "APPLIED", "UNSPECIFIED", 10n],
    ["n1", "APPLIED", "UNSPECIFIED", 11n],
    ["n2", "APPLIED", "UNSPECIFIED", 11n],
    ["n3", "APPLIED", "UNSPECIFIED", 11n],
    ["n4", "REJECTED", "OUT_OF_SYNC", 11n],
    ["n5", "REJECTED", "OUT_OF_SYNC", 11n],
    ["n6", "REJECTED", "OUT_OF_SYNC", 11n],
    ["n7", "REJECTED", "STALE_EPOCH", 11n],
    ["n8", "REJECTED", "CONTENT", 11n],
    ["n9", "REJECTED", "OUT_OF_SYNC", 11n],
    ["n10", "REJECTED", "CONTENT", 11n],
    ["n11", "APPLIED", "UNSPECIFIED", 17n],
  ]);
});

test("an MCP that is no longer in the table is drained, until it is named again", async () => {
  const removed = await answersTo([full(1n, 1n, ab), delta(1n, 2n, 1n, { a: 10_000 }, ["b"], { a: 10_000 })]);
  expect(removed.session.isDrained).toBe(true);
  const back = await answersTo([full(1n, 1n, ab), full(1n, 2n, { a: 10_000 }), full(1n, 3n, ab)]);
  expect(back.session.isDrained).toBe(false);
  const never = await answersTo([full(1n, 1n, { a: 10_000 })]);
  expect(never.session.isDrained).toBe(false);
});

test("a table with a target that cannot be used is rejected as a whole, with a verdict for each", async () => {
  const judgeTarget = ({ mcpId }: { readonly mcpId: string }) => (mcpId.startsWith("far") ? "no address" : undefined);
  const { acks, session } = await answersTo([full(1n, 1n, ab), full(1n, 2n, { a: 2_000, far1: 4_000, far2: 4_000 })], { judgeTarget });
  expect(acks[1]).toMatchObject({ status: ApplyStatus.REJECTED, rejection: RoutingRejection.CONTENT, applied: { version: 1n } });
  expect(acks[1]?.rejected.map(({ mcpId, reason }) => [mcpId, reason])).toEqual([
    ["far1", "no address"],
    ["far2", "no address"],
  ]);
  expect(session.routes?.version).toBe(1n);
});

test("10 000 routes are applied, one more is refused", async () => {
  const many = (count: number): Routes =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`mcp-${index}`, index < 10_000 ? 1 : 0]));
  const { acks, session } = await answersTo([full(1n, 1n, many(10_000)), full(1n, 2n, many(10_001))]);
  expect(summary(acks)).toEqual([
    ["n0", "APPLIED", "UNSPECIFIED", 1n],
    ["n1", "REJECTED", "CONTENT", 1n],
  ]);
  expect(session.routes?.routes).toHaveLength(10_000);
});

test("heartbeats tell which table is in force and where requests went, once", async () => {
  const beats: Heartbeat[] = [];
  const router = new LocalRouter();
  const coordinator = await startScriptedCoordinator((call, frame) => {
    if (frame?.case === "hello") {
      const config = { heartbeatInterval: { seconds: 0n, nanos: 200_000_000 } };
      call.send({ case: "welcome", value: { config, capabilities: [Capability.HEARTBEAT, Capability.ROUTING] } });
      call.send({ case: "routingUpdate", value: { nonce: "1", ...full(3n, 4n, { a: 10_000 }) } });
    } else if (frame?.case === "heartbeat") {
      beats.push(frame.value);
      call.send({ case: "heartbeatAck", value: { id: frame.value.id } });
    } else if (frame === undefined) call.end();
  });
  const session = createStreamSession({ endpoint: { target: coordinator.target, key: undefined }, mcpId: "w", closeMaxMs: 500, router });
  try {
    await expect.poll(() => beats.some(({ applied }) => applied?.version === 4n)).toBe(true);
    for (let index = 0; index < 3; index += 1) router.pick()?.end();
    const countBefore = beats.length;
    await expect.poll(() => beats.length).toBeGreaterThan(countBefore + 2);
    const told = beats.flatMap(({ observed }) => observed.map(({ mcpId, share, requests }) => ({ mcpId, share, requests })));
    expect(told).toEqual([{ mcpId: "a", share: 1, requests: 3n }]);
  } finally {
    await session.close();
    coordinator.stop();
  }
});
