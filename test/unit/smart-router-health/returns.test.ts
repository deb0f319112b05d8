import { describe, expect, it } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import type { Router } from "../../../src/smart-router/router.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

/** A router over one MCP that has been warm since `warmMs`. */
const warmMs = 60_000;
function warmRouter(priorityDefault = 0): Router {
  const router = createRouter(
    {
      book: createSignalBook(),
      policies: new Map([[qualityTailLoadId, (book) => createQualityTailLoad(book)]]),
      rng: seededRng(1),
      wallMs: () => 0,
      mintDecisionId: () => "decision",
    },
    { maxConcurrentDefault: 10, priorityDefault, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  router.streamOpened("a", "first", 0);
  for (let nowMs = 1_000; nowMs <= warmMs; nowMs += 1_000) router.tick(nowMs);
  return router;
}

const seen = (router: Router, nowMs: number) => {
  const mcp = router.mcp("a", nowMs);
  return [mcp?.state, mcp?.expectedAs, mcp?.slowStart];
};

describe("an MCP whose stream ends", () => {
  it("in good order is expected back for a while, gets nothing meanwhile, and is what it was when it is back in time", () => {
    const router = warmRouter();
    expect(seen(router, warmMs)).toEqual(["healthy", undefined, 1]);
    router.streamClosed("a", "first", "orderly", warmMs);
    const lastMs = warmMs + limits.returnMaxMs - 1;
    expect(seen(router, lastMs)).toEqual(["disconnected", "healthy", 1]);
    expect(router.select(plainRequest, lastMs).kind).toBe("refused");
    router.streamOpened("a", "second", lastMs);
    expect(seen(router, lastMs)).toEqual(["healthy", undefined, 1]);
    expect(router.select(plainRequest, lastMs).kind).toBe("decided");
  });

  it("in good order and comes back too late starts slowly", () => {
    const router = warmRouter();
    router.streamClosed("a", "first", "orderly", warmMs);
    expect(seen(router, warmMs + limits.returnMaxMs)).toEqual(["disconnected", undefined, 1]);
    router.streamOpened("a", "second", warmMs + limits.returnMaxMs);
    expect(seen(router, warmMs + limits.returnMaxMs)[0]).toBe("warming");
  });

  it("by a loss is not expected, and starts slowly however soon it is back", () => {
    const router = warmRouter();
    router.streamClosed("a", "first", "lost", warmMs);
    expect(seen(router, warmMs)).toEqual(["disconnected", undefined, 1]);
    router.streamOpened("a", "second", warmMs + 1);
    expect(seen(router, warmMs + 1)[0]).toBe("warming");
  });

  it("in good order while it starts goes on with its slow start where it was", () => {
    const router = warmRouter();
    router.streamClosed("a", "first", "lost", warmMs);
    router.streamOpened("a", "second", warmMs);
    const [, , before] = seen(router, warmMs + 2_000);
    router.streamClosed("a", "second", "orderly", warmMs + 2_000);
    expect(seen(router, warmMs + 2_000)).toEqual(["disconnected", "warming", before]);
    router.streamOpened("a", "third", warmMs + 2_000);
    expect(seen(router, warmMs + 2_000)).toEqual(["warming", undefined, before]);
    expect(before).toBeGreaterThan(0.1);
    expect(before).toBeLessThan(1);
  });

  it("and that nobody configured is of the tier of those that nobody configured", () => {
    expect(warmRouter(3).mcp("a", warmMs)?.config.priority).toBe(3);
  });
});
