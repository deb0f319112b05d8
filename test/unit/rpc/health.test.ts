import { setMaxListeners } from "node:events";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { HealthCheckRequestSchema, HealthCheckResponse_ServingStatus as Status } from "../../../gen/grpc/health/v1/health_pb.js";
import { limits } from "../../../src/platform/limits.js";
import type { CallContext } from "../../../src/rpc/context.js";
import { createHealthBook, healthHandlers } from "../../../src/rpc/health.js";

function contextOf(signal: AbortSignal): CallContext {
  return { principal: { kind: "anyone" }, signal, requestId: "r", timeoutMs: undefined };
}

describe("the health book", () => {
  it("sets all to NOT_SERVING at shutdown and ignores what is set later", () => {
    const book = createHealthBook(["a.A", "mcp.coordinator.v1.QueryService"]);
    book.shutDown();
    book.setServing("a.A", true);
    book.setServing("new.Service", true);
    book.setStoreAvailable(true);
    expect([...book.snapshot()]).toEqual([
      ["", false],
      ["a.A", false],
      ["mcp.coordinator.v1.QueryService", false],
    ]);
  });

  it("does not come to know a service because the store changed", () => {
    const book = createHealthBook(["a.A"]);
    book.setStoreAvailable(false);
    expect([...book.snapshot().keys()]).toEqual(["", "a.A"]);
  });
});

describe("Watch", () => {
  it("skips states for a reader that is slow, and never the last one", async () => {
    const book = createHealthBook(["a.A"]);
    const stop = new AbortController();
    const states = healthHandlers(book)
      .watch(create(HealthCheckRequestSchema, { service: "a.A" }), contextOf(stop.signal))
      [Symbol.asyncIterator]();
    expect((await states.next()).value?.status).toBe(Status.SERVING);
    for (let flip = 0; flip < 1_001; flip += 1) book.setServing("a.A", flip % 2 === 1);
    expect((await states.next()).value?.status).toBe(Status.NOT_SERVING);
    const waiting = states.next();
    stop.abort();
    expect((await waiting).done).toBe(true);
  });

  it("tells the last change even when its call ends in the same moment", async () => {
    const book = createHealthBook(["a.A"]);
    const stop = new AbortController();
    const states = healthHandlers(book)
      .watch(create(HealthCheckRequestSchema, { service: "a.A" }), contextOf(stop.signal))
      [Symbol.asyncIterator]();
    await states.next();
    const waiting = states.next();
    book.shutDown();
    stop.abort();
    expect((await waiting).value?.status).toBe(Status.NOT_SERVING);
    expect((await states.next()).done).toBe(true);
  });

  it("refuses one watcher more than allowed until another has gone", async () => {
    const handlers = healthHandlers(createHealthBook([]));
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const open = () => handlers.watch(create(HealthCheckRequestSchema), contextOf(stop.signal))[Symbol.asyncIterator]();
    const watchers = Array.from({ length: limits.healthWatchersMax }, open);
    await Promise.all(watchers.map((watcher) => watcher.next()));
    await expect(open().next()).rejects.toMatchObject({ code: "busy", reason: "WATCHERS_EXHAUSTED" });
    await watchers[0]?.return?.();
    expect((await open().next()).value?.status).toBe(Status.SERVING);
  });
});
