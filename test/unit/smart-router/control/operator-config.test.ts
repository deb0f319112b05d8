import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  changeOperatorConfig,
  diffOperatorConfig,
  emptyOperatorConfig,
  type McpOverride,
  type OperatorChange,
  parseOperatorConfig,
  targetOf,
} from "../../../../src/smart-router/control/operator-config.js";
import { plainTarget } from "../../../../src/smart-router/router.js";

const override = (mcpId: string, more: Partial<McpOverride> = {}): McpOverride => ({
  mcpId,
  priority: undefined,
  weight: undefined,
  maxConcurrent: undefined,
  costPerRequest: undefined,
  isDraining: undefined,
  ...more,
});
const change = (more: Partial<OperatorChange> = {}): OperatorChange => ({
  policyId: undefined,
  shadowPolicyIds: undefined,
  mcps: [],
  reset: [],
  ...more,
});

const mcpIds = fc.constantFrom("a", "b", "c", "d");
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const overrides = fc.record({
  mcpId: mcpIds,
  priority: maybe(fc.nat(9)),
  weight: maybe(fc.nat(10_000)),
  maxConcurrent: maybe(fc.integer({ min: 1, max: 100 })),
  costPerRequest: maybe(fc.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0)),
  isDraining: maybe(fc.boolean()),
});
const changes = fc.record({
  policyId: maybe(fc.constantFrom("p/1", "q/1")),
  shadowPolicyIds: maybe(fc.uniqueArray(fc.constantFrom("r/1", "s/1"))),
  mcps: fc.uniqueArray(overrides, { selector: ({ mcpId }) => mcpId }),
  reset: fc.uniqueArray(mcpIds),
});

describe("the configuration of operators", () => {
  it("changes only what a change names", () => {
    const first = changeOperatorConfig(
      emptyOperatorConfig,
      change({ policyId: "p/1", mcps: [override("b", { weight: 50, priority: 2 })] }),
    );
    const second = changeOperatorConfig(first, change({ mcps: [override("b", { weight: 0 }), override("a", { isDraining: true })] }));
    expect(second).toEqual({
      policyId: "p/1",
      shadowPolicyIds: undefined,
      mcps: [override("a", { isDraining: true }), override("b", { weight: 0, priority: 2 })],
    });
  });

  it("takes everything back that was said of an MCP, and then looks at what is said anew", () => {
    const config = changeOperatorConfig(
      emptyOperatorConfig,
      change({ mcps: [override("a", { weight: 5, maxConcurrent: 3 }), override("b", { weight: 7 })] }),
    );
    const next = changeOperatorConfig(config, change({ reset: ["a", "b"], mcps: [override("a", { priority: 1 })] }));
    expect(next.mcps).toEqual([override("a", { priority: 1 })]);
  });

  it("survives the store: the document of any configuration is read back as that configuration", () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 5 }), (all) => {
        const config = all.reduce(changeOperatorConfig, emptyOperatorConfig);
        expect(parseOperatorConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
      }),
    );
  });

  it("differs in nothing after the same change again, and in each changed setting once", () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 5 }), changes, (all, last) => {
        const before = all.reduce(changeOperatorConfig, emptyOperatorConfig);
        const after = changeOperatorConfig(before, last);
        expect(diffOperatorConfig(after, changeOperatorConfig(after, { ...last, reset: [] }))).toEqual([]);
        const diff = diffOperatorConfig(before, after);
        expect(new Set(diff.map(({ setting }) => setting)).size).toBe(diff.length);
        expect(diff.length === 0).toBe(JSON.stringify(before) === JSON.stringify(after));
      }),
    );
  });

  it("tells the audit each setting by the name that the contract gives it", () => {
    const before = changeOperatorConfig(emptyOperatorConfig, change({ mcps: [override("a", { weight: 5 })] }));
    const after = changeOperatorConfig(before, change({ policyId: "p/1", mcps: [override("a", { weight: 0, isDraining: true })] }));
    expect(diffOperatorConfig(before, after)).toEqual([
      { setting: "mcps[a].weight", oldValue: "5", newValue: "0" },
      { setting: "policy_id", oldValue: "", newValue: '"p/1"' },
      { setting: "mcps[a].drain", oldValue: "", newValue: "true" },
    ]);
  });

  it("counts before what an MCP registered with, zero and false among it", () => {
    const base = { ...plainTarget("a"), priority: 3, weight: 70, maxConcurrent: 4, capabilities: ["ocr"], isDraining: true };
    expect(targetOf(base, undefined)).toBe(base);
    expect(targetOf(base, override("a", { weight: 0, isDraining: false }))).toEqual({
      ...base,
      weight: 0,
      isDraining: false,
      isExpected: true,
    });
  });

  it("is not read from what is no configuration", () => {
    for (const document of [undefined, 7, { mcps: [{ weight: 5 }] }, { policyId: 5 }])
      expect(parseOperatorConfig(document)).toBeUndefined();
    expect(parseOperatorConfig({ later: { member: 1 } })).toEqual(emptyOperatorConfig);
  });
});
