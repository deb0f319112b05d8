import { describe, expect, test } from "vitest";
import { createTargets } from "../../../src/compose/targets.js";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import type { RoutedFleet, RoutedMcp } from "../../../src/registry/routed.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import type { Router, TargetConfig } from "../../../src/smart-router/router.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

function freshRouter(): Router {
  let minted = 0;
  return createRouter(
    {
      book: createSignalBook(),
      policies: new Map([[qualityTailLoadId, (book) => createQualityTailLoad(book)]]),
      rng: seededRng(1),
      wallMs: () => 0,
      mintDecisionId: () => `decision-${minted++}`,
    },
    { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
}

/** A registry that the test writes, and the router that hears of it as compose lets it. */
class Registrations implements RoutedFleet {
  readonly router = freshRouter();
  #tell: Parameters<RoutedFleet["subscribe"]>[0] = () => {};
  readonly #targets: ReturnType<typeof createTargets>;
  nowMs = 0;

  constructor() {
    this.#targets = createTargets(this, 0);
    this.#targets.follow((mcpId) => this.router.configure(this.#targets.baseOf(mcpId), this.nowMs));
  }

  readonly current = () => [];
  readonly subscribe: RoutedFleet["subscribe"] = (tell) => {
    this.#tell = tell;
    return () => {};
  };

  tell(mcpId: string, health: RoutedMcp["health"]): void {
    const config = { capabilities: [], formats: [], maxConcurrent: 4, priority: 0, weight: 100, draining: false };
    this.#tell([{ mcpId, health, ...config }], []);
  }

  forget(mcpId: string): void {
    this.#tell([], [mcpId]);
  }

  baseOf(mcpId: string): TargetConfig {
    return this.#targets.baseOf(mcpId);
  }

  /** It registers and opens its stream. */
  comes(mcpId: string): void {
    this.tell(mcpId, "well");
    this.router.streamOpened(mcpId, `session of ${mcpId}`, this.nowMs);
  }

  /** Its stream ends, and its registration too. */
  leaves(mcpId: string): void {
    this.router.streamClosed(mcpId, `session of ${mcpId}`, "orderly", this.nowMs);
    this.tell(mcpId, "away");
  }

  chosen(): string | undefined {
    const selection = this.router.select(plainRequest, this.nowMs);
    return selection.kind === "decided" ? selection.decision.chosen : undefined;
  }

  passes(ms: number): void {
    this.nowMs += ms;
    this.router.tick(this.nowMs);
  }
}

const fleetOf = (name: string): readonly string[] => Array.from({ length: limits.routedMcpMax }, (_, at) => `${name}-${at}`);

describe("whom the router remembers", () => {
  test("an MCP that left for good makes room: a fleet that is replaced again and again is routed to still", () => {
    const fleet = new Registrations();
    for (const round of ["first", "second"]) {
      for (const mcpId of fleetOf(round)) fleet.comes(mcpId);
      for (const mcpId of fleetOf(round)) fleet.leaves(mcpId);
      fleet.passes(700_000); // gone after ten minutes
      fleet.passes(181_000);
    }
    expect(fleet.router.mcps(fleet.nowMs)).toHaveLength(0);
    fleet.comes("third-0");
    expect(fleet.chosen()).toBe("third-0");
  });

  test("one that comes while the places of those that have just left are taken gets a place at once", () => {
    const fleet = new Registrations();
    for (const mcpId of fleetOf("old")) fleet.comes(mcpId);
    for (const mcpId of fleetOf("old")) fleet.leaves(mcpId);
    fleet.passes(1_000);
    fleet.comes("new-0");
    expect(fleet.router.mcp("new-0", fleet.nowMs)).toMatchObject({ openStreams: 1, maxConcurrent: 4 });
    expect(fleet.chosen()).toBe("new-0");
  });

  test("neither who is registered nor who has a stream or a request makes room for another one", () => {
    const fleet = new Registrations();
    for (const mcpId of fleetOf("mcp").slice(2)) fleet.tell(mcpId, "well");
    fleet.comes("busy");
    expect(fleet.chosen()).toBe("busy");
    fleet.leaves("busy");
    fleet.router.streamOpened("stranger", "session", fleet.nowMs);
    fleet.comes("new");
    expect(fleet.router.mcp("new", fleet.nowMs)).toBeUndefined();
    for (const mcpId of ["busy", "stranger", "mcp-2"]) expect(fleet.router.mcp(mcpId, fleet.nowMs)).toBeDefined();
  });

  test("an MCP that is away keeps what it registered with until its registration is forgotten", () => {
    const fleet = new Registrations();
    fleet.comes("a");
    fleet.leaves("a");
    expect(fleet.baseOf("a")).toMatchObject({ maxConcurrent: 4, isDraining: true, isExpected: false });
    fleet.forget("a");
    expect(fleet.baseOf("a")).toMatchObject({ maxConcurrent: undefined, isExpected: false });
  });
});
