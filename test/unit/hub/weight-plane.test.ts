import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { divergence, ObservedTraffic } from "../../../src/hub/observed-traffic.js";
import { RejectedTables } from "../../../src/hub/rejected-tables.js";
import { limits } from "../../../src/platform/limits.js";

describe("observed traffic", () => {
  it("is the sum of what clients say, by MCP, of the last minute", () => {
    const traffic = new ObservedTraffic();
    traffic.add([{ mcpId: "b", requests: 10 }], 0);
    traffic.add([{ mcpId: "a", requests: 30 }], 16_000);
    traffic.add([{ mcpId: "b", requests: 10 }], 16_500);
    expect(traffic.read(17_000)).toEqual([
      { mcpId: "a", requests: 30, share: 0.6 },
      { mcpId: "b", requests: 20, share: 0.4 },
    ]);
    expect(traffic.read(61_000)).toEqual([
      { mcpId: "a", requests: 30, share: 0.75 },
      { mcpId: "b", requests: 10, share: 0.25 },
    ]);
    expect(traffic.read(16_000 + limits.observedSharesMaxAgeMs + 15_000)).toEqual([]);
  });

  it("counts no more MCPs than a table may name", () => {
    const traffic = new ObservedTraffic();
    traffic.add(
      Array.from({ length: limits.routedMcpMax + 10 }, (_, index) => ({ mcpId: `mcp-${index}`, requests: 1 })),
      0,
    );
    expect(traffic.read(0)).toHaveLength(limits.routedMcpMax);
  });

  it("diverges from the weights by 0 when it follows them, and by a finite amount whatever it does", () => {
    const route = (mcpId: string, weight: number) => ({ mcpId, weight, state: "active", maxConcurrent: 1, priority: 0, why: [] }) as const;
    const table = [route("a", 7_500), route("b", 2_500), route("out", 0)];
    const shares = (a: number, b: number, out: number) =>
      Object.entries({ a, b, out }).flatMap(([mcpId, share]) => (share > 0 ? [{ mcpId, requests: 1, share }] : []));
    expect(divergence(shares(0.75, 0.25, 0), table)).toBe(0);
    expect(divergence(shares(0.25, 0.75, 0), table)).toBeCloseTo(0.5 * Math.log(3), 12);
    expect(divergence(shares(0, 0, 1), table)).toBeLessThan(10);
    expect(divergence([], table)).toBeUndefined();
  });
});

describe("rejected tables", () => {
  it("are remembered by MCP, the newest of each, within bounds", () => {
    const anyRejections = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 40 })), { maxLength: 200 });
    fc.assert(
      fc.property(anyRejections, (rejections) => {
        const tables = new RejectedTables();
        const told = new Map<number, number[]>();
        for (const [mcp, digest] of rejections) {
          tables.add(`mcp-${mcp}`, `d-${digest}`, "no");
          const before = (told.get(mcp) ?? []).filter((one) => one !== digest);
          told.set(mcp, [...before, digest].slice(-limits.rejectedTablesPerMcpMax));
        }
        for (let mcp = 0; mcp <= 3; mcp += 1) {
          for (let digest = 0; digest <= 40; digest += 1) {
            expect(tables.has(`mcp-${mcp}`, `d-${digest}`)).toBe(told.get(mcp)?.includes(digest) === true);
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it("forget the MCP that rejected longest ago, and show the newest first", () => {
    const tables = new RejectedTables();
    for (let index = 0; index <= limits.rejectingMcpMax; index += 1) tables.add(`mcp-${index}`, `d-${index}`, `reason ${index}`);
    expect([tables.has("mcp-0", "d-0"), tables.has("mcp-1", "d-1")]).toEqual([false, true]);
    const shown = tables.list();
    expect(shown).toHaveLength(limits.rejectionShownMax);
    expect(shown[0]).toEqual({ digest: "d-1000", subject: "mcp-1000", reason: "reason 1000", subjectCount: 1 });
  });
});
