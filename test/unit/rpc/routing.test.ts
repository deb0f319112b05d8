import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ApplyStatus } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { GetRoutesRequestSchema, WatchRoutesRequestSchema } from "../../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Principal } from "../../../src/auth/principal.js";
import { WeightPlane } from "../../../src/hub/weight-plane.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";
import type { CallContext } from "../../../src/rpc/context.js";
import { createRoutingHandlers } from "../../../src/rpc/routing.js";
import type { PublishedRoutes, RouteBook } from "../../../src/smart-router/table.js";
import { StoreFault } from "../../../src/store/store.js";
import type { ProducerAck } from "../../../src/wire/routes.js";

const routesOf = (version: number): PublishedRoutes => ({
  ...{ term: 1, version, digest: "e3b0c44298fc1c14", table: [], policyId: "a58-wrr/1", reason: "change" },
  ...{ publishedAtMs: 0, validForMs: 180_000 },
});

/** A book that the test writes. */
class WrittenBook implements RouteBook {
  #current: PublishedRoutes | undefined;
  readonly #readers = new Set<(routes: PublishedRoutes) => void>();
  readonly current = () => this.#current;
  readonly subscribe = (seen: (routes: PublishedRoutes) => void) => {
    this.#readers.add(seen);
    return () => void this.#readers.delete(seen);
  };
  publish(version: number): void {
    this.#current = routesOf(version);
    for (const seen of this.#readers) seen(this.#current);
  }
  get readerCount(): number {
    return this.#readers.size;
  }
}

const context = (signal: AbortSignal, principal: Principal = { kind: "anyone" }): CallContext => ({
  ...{ principal, signal, requestId: "r", timeoutMs: undefined },
});
const unended = new AbortController().signal;

const acks: readonly ProducerAck[] = ["mine", "theirs"].map((mcpId) => ({
  ...{ producerId: `${mcpId}-1`, mcpId, status: "applied", term: 1, version: 3, digest: "00000000000000ff", ackedAtMs: 1_000 },
  ...{ answered: { term: 1, version: 3, digest: "00000000000000ff" }, rejection: undefined, verdicts: [], applyTimeMs: 2, ackDelayMs: 9 },
}));

function service(listAcks: (maxCount: number) => Promise<readonly ProducerAck[]> = async () => acks) {
  const book = new WrittenBook();
  return {
    book,
    ...createRoutingHandlers({ book, listAcks, readPlane: () => new WeightPlane().figures([{ appliedVersion: 3 }], book.current(), 0) }),
  };
}

describe("GetRoutes", () => {
  test("has no table before the first is published, then the newest", async () => {
    const { book, getRoutes } = service();
    expect((await getRoutes(create(GetRoutesRequestSchema), context(unended))).routes).toBeUndefined();
    book.publish(4);
    expect((await getRoutes(create(GetRoutesRequestSchema), context(unended))).routes?.version).toBe(4n);
  });

  test("asks the store for acks only when they are wanted, and for no more than a page", async () => {
    const asked: number[] = [];
    const { getRoutes } = service(async (maxCount) => {
      asked.push(maxCount);
      return acks;
    });
    expect((await getRoutes(create(GetRoutesRequestSchema), context(unended))).applied).toEqual([]);
    expect(asked).toEqual([]);
    const { applied } = await getRoutes(create(GetRoutesRequestSchema, { includeApplied: true }), context(unended));
    expect(asked).toEqual([1_000]);
    expect(applied).toMatchObject([
      { producerId: "mine-1", status: ApplyStatus.APPLIED, applied: { version: 3n, digest: 255n } },
      { producerId: "theirs-1" },
    ]);
  });

  test("shows acks only of MCPs that the key may act for", async () => {
    const { getRoutes } = service();
    const bound = context(unended, { kind: "key", keyId: "k", mcpId: "mine" });
    const { applied } = await getRoutes(create(GetRoutesRequestSchema, { includeApplied: true }), bound);
    expect(applied.map(({ mcpId }) => mcpId)).toEqual(["mine"]);
  });

  test("passes on that the store cannot be reached", async () => {
    const fault = new StoreFault("outage", "ECONNREFUSED", "connect refused");
    const { getRoutes } = service(() => Promise.reject(fault));
    await expect(getRoutes(create(GetRoutesRequestSchema, { includeApplied: true }), context(unended))).rejects.toBe(fault);
  });
});

describe("WatchRoutes", () => {
  function watch(endedBy: AbortSignal = unended) {
    const { book, watchRoutes } = service();
    const reader = watchRoutes(create(WatchRoutesRequestSchema), context(endedBy))[Symbol.asyncIterator]();
    const read = async (): Promise<bigint | undefined> => {
      const { done, value } = await reader.next();
      return done === true ? undefined : value.routes?.version;
    };
    return { book, reader, read };
  }

  test("gives the table in force at once, then every newer one", async () => {
    const { book, read } = watch();
    book.publish(1);
    expect(await read()).toBe(1n);
    const next = read();
    book.publish(2);
    expect(await next).toBe(2n);
    book.publish(3);
    expect(await read()).toBe(3n);
  });

  test("waits for the first table when there is none", async () => {
    const { book, read } = watch();
    const first = read();
    book.publish(9);
    expect(await first).toBe(9n);
  });

  test("lets a slow reader skip tables, never the newest", async () => {
    const { book, read } = watch();
    book.publish(1);
    expect(await read()).toBe(1n);
    for (let version = 2; version <= 50; version += 1) book.publish(version);
    expect(await read()).toBe(50n);
  });

  test("ends when its caller goes away, also while it waits, and leaves nothing behind", async () => {
    const caller = new AbortController();
    const { book, read } = watch(caller.signal);
    const waiting = read();
    expect(book.readerCount).toBe(1);
    caller.abort();
    expect(await waiting).toBeUndefined();
    expect(book.readerCount).toBe(0);
  });

  test("gives no table to a caller that has gone already", async () => {
    const { book, read } = watch(AbortSignal.abort());
    book.publish(1);
    expect(await read()).toBeUndefined();
    expect(book.readerCount).toBe(0);
  });

  test("tells its caller why the coordinator ends it", async () => {
    const coordinator = new AbortController();
    const { book, read } = watch(coordinator.signal);
    const waiting = read();
    const draining = new CoordinatorError("unavailable", "the coordinator shuts down", { reason: "COORDINATOR_DRAINING" });
    coordinator.abort(draining);
    await expect(waiting).rejects.toBe(draining);
    expect(book.readerCount).toBe(0);
  });

  test("refuses one watcher more than a process holds, and takes the next one when one has gone", async () => {
    const { book, watchRoutes } = service();
    book.publish(1);
    const open = () => watchRoutes(create(WatchRoutesRequestSchema), context(unended))[Symbol.asyncIterator]();
    const watchers = Array.from({ length: limits.routeWatchersMax }, open);
    for (const watcher of watchers) await watcher.next();
    await expect(open().next()).rejects.toMatchObject({
      code: "busy",
      reason: "WATCHERS_EXHAUSTED",
      retryAfterMs: limits.reconnectSpreadMs,
    });
    expect(book.readerCount).toBe(limits.routeWatchersMax);
    await watchers[0]?.return?.();
    expect(await open().next()).toMatchObject({ done: false });
  });

  test("is released when its reader stops between two tables", async () => {
    const { book, reader, read } = watch();
    book.publish(1);
    await read();
    await reader.return?.();
    expect(book.readerCount).toBe(0);
  });
});
