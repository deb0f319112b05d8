import { describe, expect, it } from "vitest";
import { RouteOutlet } from "../../../src/hub/route-outlet.js";
import { WeightPlane } from "../../../src/hub/weight-plane.js";
import { limits } from "../../../src/platform/limits.js";
import { tableDigest } from "../../../src/smart-router/digest.js";
import type { PublishedRoutes, Route, RoutingAck } from "../../../src/smart-router/table.js";

const route = (mcpId: string, weight: number): Route => ({
  ...{ mcpId, weight, state: "active", maxConcurrent: 10, priority: 0 },
  why: [{ name: "latency", contribution: -5 }],
});

/** Twenty MCPs, of which the first two share what the others leave in a way that each version changes. */
function table(version: number, term = 1): PublishedRoutes {
  const others = Array.from({ length: 18 }, (_, index) => route(`mcp-${index + 10}`, 500));
  const routes = [route("mcp-0", 400 + version), route("mcp-1", 600 - version), ...others];
  return {
    ...{ term, version, digest: tableDigest(routes), table: routes },
    ...{ policyId: "test/1", reason: "change", publishedAtMs: 0, validForMs: 180_000 },
  };
}

const appliedOf = ({ term, version, digest }: PublishedRoutes) => ({ term, version, digest });
const ack = (nonce: string, status: RoutingAck["status"], more: Partial<RoutingAck> = {}): RoutingAck => ({
  ...{ nonce, status, applied: undefined, rejected: [], applyTimeMs: 1 },
  ...more,
});

function setUp(subject = "ocr", plane = new WeightPlane()) {
  const outlet = new RouteOutlet(subject, plane);
  return { outlet, plane, counts: () => plane.figures([], undefined, 0).counts };
}

/** An outlet whose client has applied version 1. */
function inSync() {
  const made = setUp();
  const first = table(1);
  made.outlet.offer(first, true);
  const update = made.outlet.take(0);
  made.outlet.acked(ack(update?.nonce ?? "", "applied", { applied: appliedOf(first) }), 0);
  return { ...made, first };
}

describe("the tables of one session", () => {
  it("are sent whole at first, and as deltas once the client has proved what it has", () => {
    const { outlet } = inSync();
    outlet.offer(table(2), true);
    const update = outlet.take(1);
    expect(update?.body).toMatchObject({ case: "delta", value: { baseVersion: 1n, remove: [] } });
    expect(update?.body.case === "delta" && update.body.value.upsert.map(({ mcpId }) => mcpId)).toEqual(["mcp-0", "mcp-1"]);
    expect(update?.digest.toString(16).padStart(16, "0")).toBe(table(2).digest);
  });

  it.each<[string, Partial<RoutingAck>]>([
    ["names nothing in force", {}],
    ["names another digest", { applied: { term: 1, version: 1, digest: "00000000000000ff" } }],
    ["names another version", { applied: { ...appliedOf(table(1)), version: 7 } }],
  ])("are sent whole to a client whose APPLIED %s", (_, more) => {
    const { outlet } = setUp();
    outlet.offer(table(1), true);
    outlet.take(0);
    outlet.acked(ack("1", "applied", more), 0);
    outlet.offer(table(2), true);
    expect(outlet.take(1)?.body.case).toBe("full");
    expect(outlet.appliedVersion).toBe(0);
  });

  it("are sent whole when they are of another term, or when the heartbeat says that the base is gone", () => {
    const { outlet } = inSync();
    outlet.offer(table(2, 2), true);
    expect(outlet.take(1)?.body.case).toBe("full");
    const other = inSync();
    other.outlet.reported(undefined);
    other.outlet.offer(table(2), true);
    expect(other.outlet.take(1)?.body.case).toBe("full");
  });

  it("go whole, once, after OUT_OF_SYNC; the newest one if there is a newer", () => {
    const { outlet, first, counts } = inSync();
    outlet.offer(table(2), true);
    outlet.take(1);
    outlet.acked(ack("2", "rejected", { rejection: "out_of_sync", applied: appliedOf(first) }), 2);
    const whole = outlet.take(3);
    expect([whole?.version, whole?.body.case]).toEqual([2n, "full"]);
    expect(outlet.take(4)).toBeUndefined();
    outlet.acked(ack("3", "rejected", { rejection: "out_of_sync" }), 5);
    expect(outlet.take(limits.pushAckMaxMs * 2)).toBeUndefined();
    expect(counts()).toMatchObject({ out_of_sync: 2, sent: 3, sent_delta: 1 });
  });

  it("that an MCP has rejected are never sent to it again, under whatever version and on whatever stream", () => {
    const { outlet, plane, counts } = setUp();
    outlet.offer(table(1), true);
    outlet.take(0);
    outlet.acked(ack("1", "rejected", { rejected: [{ mcpId: "mcp-0", reason: "no such host" }] }), 1);
    const again = { ...table(1), version: 9 };
    outlet.offer(again, true);
    expect(outlet.take(2)).toBeUndefined();
    const next = setUp("ocr", plane).outlet;
    next.offer({ ...again, version: 10 }, false);
    expect(next.take(3)).toBeUndefined();
    const other = setUp("asr", plane).outlet;
    other.offer({ ...again, version: 10 }, false);
    expect(other.take(3)?.version).toBe(10n);
    outlet.offer(table(11), true);
    expect(outlet.take(4)?.version).toBe(11n);
    expect(counts().withheld).toBe(2);
    expect(plane.rejected.list()).toEqual([{ digest: table(1).digest, subject: "ocr", reason: "mcp-0: no such host", subjectCount: 1 }]);
  });

  it("of a stale term are not held against the client: the next one is sent", () => {
    const { outlet, plane } = setUp();
    outlet.offer(table(1), true);
    outlet.take(0);
    outlet.acked(ack("1", "rejected", { rejection: "stale_epoch" }), 1);
    expect(plane.rejected.has("ocr", table(1).digest)).toBe(false);
    outlet.offer(table(2), true);
    expect(outlet.take(2)?.version).toBe(2n);
  });

  it("are sent whole again after they ran out at the client", () => {
    const { outlet, counts } = inSync();
    outlet.acked(ack("1", "expired"), 180_000);
    expect([outlet.appliedVersion, counts().expired]).toEqual([0, 1]);
    outlet.offer(table(2), true);
    expect(outlet.take(180_001)?.body.case).toBe("full");
  });

  it("are timed from publication to APPLIED, unless they were old when the session began; strange nonces are counted", () => {
    const { outlet, plane, counts } = setUp();
    const fresh = table(1);
    plane.published(fresh, 100);
    outlet.offer(fresh, true);
    outlet.take(100);
    expect(outlet.acked(ack("nonsense", "applied"), 120)).toBeUndefined();
    expect(outlet.acked(ack("1", "applied", { applied: appliedOf(fresh) }), 140)?.delayMs).toBe(40);
    const late = new RouteOutlet("late", plane);
    late.offer(fresh, false);
    late.take(5_000);
    expect(late.acked(ack("1", "applied", { applied: appliedOf(fresh) }), 5_001)?.delayMs).toBeUndefined();
    const figures = plane.figures([{ appliedVersion: 1 }, { appliedVersion: 0 }], fresh, 200);
    expect(figures).toMatchObject({ streams: 2, streamsOnNewest: 1, versionLagMax: 1, appliedP50Ms: 40, appliedP99Ms: 40 });
    expect(counts().ack_ignored).toBe(1);
  });
});
