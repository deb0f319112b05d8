import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RouteState, type RoutingUpdate, RoutingUpdateSchema } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { routeDigest } from "../../../src/client/route-digest.js";
import { type ClientRoutes, judgeRoutes } from "../../../src/client/routes.js";

const routes = [
  { mcpId: "a", weight: 2_500, state: RouteState.ACTIVE },
  { mcpId: "b", weight: 7_500, state: RouteState.WARMING },
];

function update(term: bigint, version: bigint, table = routes, digest = digestOf(table)): RoutingUpdate {
  return create(RoutingUpdateSchema, { nonce: "n", term, version, body: { case: "full", value: { routes: table } }, digest });
}
const digestOf = (table: typeof routes) => routeDigest(table.map((route) => ({ ...route, stateNumber: route.state })));

function applied(of: RoutingUpdate, current?: ClientRoutes): ClientRoutes {
  const verdict = judgeRoutes(current, of);
  if (verdict.kind !== "applied") throw new Error(`the table was ${verdict.kind}`);
  return verdict.routes;
}

test("the digest is the head of SHA-256 over the lines of the contract, whatever the order of the routes", () => {
  const hex = createHash("sha256").update("a\t2500\t1\nb\t7500\t2\n").digest("hex").slice(0, 16);
  expect(digestOf(routes).toString(16).padStart(16, "0")).toBe(hex);
  expect(digestOf([...routes].reverse())).toBe(digestOf(routes));
});

test("routes are digested in the order of bytes, not of UTF-16 units", () => {
  const lines = ["\uFF5E\t1\t1\n", "\u{1F600}\t2\t1\n"];
  const hex = createHash("sha256").update(lines.join("")).digest("hex").slice(0, 16);
  const digest = routeDigest([
    { mcpId: "\u{1F600}", weight: 2, stateNumber: 1 },
    { mcpId: "\uFF5E", weight: 1, stateNumber: 1 },
  ]);
  expect(digest.toString(16).padStart(16, "0")).toBe(hex);
});

test("a newer term wins over any version, an older or equal table is kept as it is", () => {
  const current = applied(update(2n, 9n));
  expect(judgeRoutes(current, update(2n, 9n)).kind).toBe("kept");
  expect(judgeRoutes(current, update(2n, 8n)).kind).toBe("kept");
  expect(judgeRoutes(current, update(1n, 10n))).toMatchObject({ kind: "rejected", rejection: "stale_epoch" });
  expect(applied(update(3n, 1n), current).term).toBe(3n);
});

test.each([
  ["a digest of another table", update(1n, 1n, routes, 5n)],
  ["weights that do not sum to 10 000", update(1n, 1n, [{ mcpId: "a", weight: 1, state: RouteState.ACTIVE }])],
  [
    "an MCP named twice",
    update(
      1n,
      1n,
      routes.map((route) => ({ ...route, mcpId: "a", weight: 5_000 })),
    ),
  ],
  ["no table", create(RoutingUpdateSchema, { term: 1n, version: 1n })],
])("%s is rejected", (_, bad) => {
  expect(judgeRoutes(undefined, bad).kind).toBe("rejected");
});

test("an empty table is whole", () => {
  expect(applied(update(1n, 1n, [])).routes).toEqual([]);
});
