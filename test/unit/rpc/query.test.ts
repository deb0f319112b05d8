import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { EventStatus, InteractionState } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import {
  GetPerformanceMetricsRequestSchema,
  GetStatsRequestSchema,
  ListInteractionsRequestSchema,
} from "../../../gen/mcp/coordinator/v1/query_service_pb.js";
import type { Principal } from "../../../src/auth/principal.js";
import { systemClock } from "../../../src/platform/clock.js";
import type { CallContext } from "../../../src/rpc/context.js";
import { createQueryHandlers, type QueryDeps } from "../../../src/rpc/query.js";
import type { InteractionFilter, ListCursor, PerformanceMetrics } from "../../../src/store/store.js";
import { figuresOfTest, interactionOf } from "../../support/rpc-ports.js";

const nowMs = 1_780_000_000_000;
const anyone: Principal = { kind: "anyone" };
const ocr: Principal = { kind: "key", keyId: "k", mcpId: "ocr" };
const contextOf = (principal: Principal): CallContext => ({
  principal,
  signal: new AbortController().signal,
  requestId: "r",
  timeoutMs: undefined,
});
const none: PerformanceMetrics = {
  total: 0,
  completed: 0,
  failed: 0,
  avgMs: undefined,
  minMs: undefined,
  maxMs: undefined,
  p50Ms: undefined,
  p95Ms: undefined,
  p99Ms: undefined,
};

/** Handlers over a store that gives `rows` and remembers what it was asked. */
function queryOver(rows: number, metrics = none) {
  const asked: {
    filter?: InteractionFilter;
    count?: number;
    cursor?: ListCursor | undefined;
    mcpId?: string | undefined;
    range?: number[];
  }[] = [];
  const store: QueryDeps["store"] = {
    listInteractions: async (filter, count, cursor) => {
      asked.push({ filter, count, cursor });
      return Array.from({ length: Math.min(rows, count) }, (_, index) => interactionOf("ocr", `i-${index}`, index));
    },
    readPerformance: async (mcpId, startMs, endMs) => {
      asked.push({ mcpId, range: [startMs, endMs] });
      return metrics;
    },
    countInteractions: async (mcpId) => {
      asked.push({ mcpId });
      return { total: 9, active: 2, completed: 6, failed: 1, averageMs: 12.5 };
    },
  };
  const figures = {
    openStreams: 1,
    pendingEvents: 2,
    pendingBytes: 3,
    storeAvailable: false,
    events: { stored: 5, conflict: 0 },
    deadLetters: 4,
    sessions: figuresOfTest.sessions,
  };
  const readCoordinator = () => ({ coordinatorId: "c", startedAtMs: 7, ...figures });
  return { asked, handlers: createQueryHandlers({ store, readCoordinator, clock: { ...systemClock, nowMs: () => nowMs } }) };
}

describe("ListInteractions", () => {
  it("gives no token when the last page is exactly full", async () => {
    const { handlers, asked } = queryOver(100);
    const response = await handlers.listInteractions(create(ListInteractionsRequestSchema), contextOf(anyone));
    expect([response.interactions.length, response.nextPageToken, asked[0]?.count]).toEqual([100, "", 101]);
  });

  it("gives a token that continues after the last interaction of the page", async () => {
    const { handlers, asked } = queryOver(11);
    const first = await handlers.listInteractions(create(ListInteractionsRequestSchema, { pageSize: 10 }), contextOf(anyone));
    await handlers.listInteractions(
      create(ListInteractionsRequestSchema, { pageSize: 10, pageToken: first.nextPageToken }),
      contextOf(anyone),
    );
    const last = interactionOf("ocr", "i-9", 9);
    expect(asked[1]?.cursor).toEqual({ lastEventAtUs: last.lastEventAtUs, mcpId: "ocr", interactionId: "i-9" });
  });

  it("turns words into a filter, and empty ones into none", async () => {
    const { handlers, asked } = queryOver(0);
    const request = { mcpId: "a", state: InteractionState.FAILED, requestType: "b", sessionId: "c" };
    await handlers.listInteractions(create(ListInteractionsRequestSchema, request), contextOf(anyone));
    await handlers.listInteractions(create(ListInteractionsRequestSchema), contextOf(anyone));
    const empty = { mcpId: undefined, state: undefined, requestType: undefined, sessionId: undefined };
    expect(asked.map(({ filter }) => filter)).toEqual([{ mcpId: "a", state: "failed", requestType: "b", sessionId: "c" }, empty]);
  });

  it("with a bound key takes no token of another scope, even one that the service gave out", async () => {
    const { handlers } = queryOver(11);
    const wide = await handlers.listInteractions(create(ListInteractionsRequestSchema, { pageSize: 10 }), contextOf(anyone));
    const request = create(ListInteractionsRequestSchema, { pageToken: wide.nextPageToken });
    await expect(handlers.listInteractions(request, contextOf(ocr))).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  });
});

describe("GetPerformanceMetrics", () => {
  it("without any interaction is all zero, and durations are absent", async () => {
    const { handlers, asked } = queryOver(0);
    const response = await handlers.getPerformanceMetrics(create(GetPerformanceMetricsRequestSchema), contextOf(ocr));
    expect(response).toMatchObject({ totalInteractions: 0n, successRate: 0, errorRate: 0 });
    expect([response.avgProcessingTime, response.p99ProcessingTime]).toEqual([undefined, undefined]);
    expect(asked).toEqual([{ mcpId: "ocr", range: [nowMs - 86_400_000, nowMs] }]);
  });

  it("gives shares of those that ended, and durations with fractions", async () => {
    const { handlers } = queryOver(0, { ...none, total: 4, completed: 3, failed: 1, avgMs: 0, p99Ms: 1_000.5 });
    const response = await handlers.getPerformanceMetrics(
      create(GetPerformanceMetricsRequestSchema, { timeRange: "last_1h" }),
      contextOf(anyone),
    );
    expect(response).toMatchObject({ successRate: 0.75, errorRate: 0.25, avgProcessingTime: { seconds: 0n, nanos: 0 } });
    expect(response.p99ProcessingTime).toMatchObject({ seconds: 1n, nanos: 500_000 });
    expect(response.startTime).toMatchObject({ seconds: BigInt((nowMs - 3_600_000) / 1_000) });
  });
});

describe("GetStats", () => {
  it("tells an unbound caller what this coordinator did, without statuses that never were", async () => {
    const { handlers } = queryOver(0);
    const response = await handlers.getStats(create(GetStatsRequestSchema), contextOf(anyone));
    expect(response).toMatchObject({ totalInteractions: 9n, activeInteractions: 2n, completedInteractions: 6n, failedInteractions: 1n });
    expect(response.coordinator).toMatchObject({ coordinatorId: "c", pendingBytes: 3n, storeAvailable: false, deadLetters: 4n });
    expect(response.coordinator?.events.map(({ status, count }) => [status, count])).toEqual([[EventStatus.STORED, 5n]]);
  });

  it("tells a bound caller of its MCP only", async () => {
    const { handlers, asked } = queryOver(0);
    const response = await handlers.getStats(create(GetStatsRequestSchema), contextOf(ocr));
    expect([response.coordinator, asked[0]?.mcpId]).toEqual([undefined, "ocr"]);
    await expect(handlers.getStats(create(GetStatsRequestSchema, { mcpId: "other" }), contextOf(ocr))).rejects.toMatchObject({
      code: "forbidden",
    });
  });
});
