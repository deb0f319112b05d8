import { readdirSync } from "node:fs";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Store, StoreFault } from "../../src/store/store.js";
import { freshName, newEvent } from "../support/new-event.js";
import { createStoreHome, type StoreHome, storeKinds } from "../support/open-store.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

const watchdogMs = 2_000;
/** What a busy machine may add to any time. Without its bound a call would wait for minutes: for TCP to give up. */
const busyMs = 10_000;

/** How a call ended, and how long it took. */
async function timed(call: Promise<unknown>): Promise<{ readonly fault: unknown; readonly tookMs: number }> {
  const startMs = performance.now();
  const fault = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { fault, tookMs: performance.now() - startMs };
}

/** Tries until it works, as the ingest queue does, for at most a minute. */
async function untilWorks<T>(call: () => Promise<T>): Promise<T> {
  const untilMs = Date.now() + 60_000;
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      if (Date.now() > untilMs || !(thrown instanceof StoreFault)) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const openSocketCount = (): number => readdirSync("/proc/self/fd").length;

describe.runIf(storeKinds.every((entry) => entry.skip === undefined))("the Postgres store during an outage", () => {
  let home: StoreHome;
  let proxy: TcpProxy;
  let store: Store;
  beforeAll(async () => {
    home = await createStoreHome("postgres");
  });
  afterAll(async () => {
    await home?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    proxy = await startTcpProxy(home.postgres?.port ?? 0);
    store = await home.open({ databaseUrl: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, watchdogMs });
  });
  afterEach(async () => {
    await store?.close();
    await proxy?.[Symbol.asyncDispose]();
  });
  const append = () => store.append(0, [newEvent({ interactionId: freshName("i") })]);

  it("gives up on a connection that swallows everything, and works as soon as the network does", async () => {
    await append();
    proxy.set("swallow");
    const calls = await Promise.all([
      timed(append()),
      timed(store.append(1, [newEvent()])),
      timed(store.ping()),
      timed(store.readPublication()),
    ]);
    for (const { fault, tookMs } of calls) {
      expect(fault).toMatchObject({ kind: "outage" });
      expect(tookMs).toBeLessThan(watchdogMs + busyMs);
    }
    expect(calls.map(({ fault }) => (fault instanceof StoreFault ? fault.code : ""))).toContain("WATCHDOG");
    const { fault } = await timed(append());
    expect(fault, "a new connection is swallowed too").toMatchObject({ kind: "outage", code: "WATCHDOG" });
    proxy.set("pass");
    const { tookMs } = await timed(untilWorks(append));
    expect(tookMs).toBeLessThan(busyMs);
  });

  it("leaves no socket behind when it has given up connections many times", async () => {
    await append();
    const before = openSocketCount();
    proxy.set("swallow");
    for (let round = 0; round < 3; round++) await Promise.all([timed(append()), timed(store.ping())]);
    proxy.set("pass");
    await untilWorks(append);
    await untilWorks(() => store.ping());
    await untilTrue(() => openSocketCount() <= before + 8);
  });

  it("a commit whose answer was lost is a duplicate when the same batch comes again", async () => {
    const freshBatch = () => Array.from({ length: 10 }, () => newEvent({ interactionId: freshName("i") }));
    // Both connections know the statement by then: the next answer is that of a commit.
    await Promise.all([store.append(0, freshBatch()), store.append(1, freshBatch())]);
    const batch = freshBatch();
    proxy.cutAtNextAnswer();
    const { fault } = await timed(store.append(0, batch));
    expect(fault).toMatchObject({ kind: "outage" });
    proxy.set("pass");
    const outcomes = await untilWorks(() => store.append(0, batch));
    expect(new Set(outcomes.map((outcome) => outcome.kind))).toEqual(new Set(["duplicate"]));
  });

  it("does not hang on, nor hammer, a peer that accepts and closes", async () => {
    proxy.set("close");
    const fresh = await timed(
      home.open({ databaseUrl: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, watchdogMs }).catch((thrown) => thrown),
    );
    expect(fresh.tookMs).toBeLessThan(60_000);
    const { fault, tookMs } = await timed(
      Promise.all([append(), append(), store.ping(), store.ping(), store.ping(), store.ping(), store.ping()]),
    );
    void fault;
    expect(tookMs).toBeLessThan(watchdogMs + busyMs);
    proxy.set("pass");
    await untilWorks(append);
  });

  it("recovers by itself when the server is killed under load, and loses nothing that it had acknowledged", async () => {
    const mcpId = freshName("mcp");
    const acked: string[] = [];
    let isEnding = false;
    const lanes = [0, 1].map(async (lane) => {
      while (!isEnding) {
        const batch = Array.from({ length: 20 }, () => newEvent({ mcpId, interactionId: freshName("i") }));
        await untilWorks(() => store.append(lane, batch));
        acked.push(...batch.map((event) => event.eventId));
      }
    });
    for (const end of ["stopImmediate", "stop"] as const) {
      const ackedBefore = acked.length;
      await untilTrue(() => acked.length > ackedBefore + 200);
      await home.postgres?.[end]();
      const { fault, tookMs } = await timed(store.ping());
      expect(fault).toMatchObject({ kind: "outage" });
      expect(tookMs).toBeLessThan(watchdogMs + busyMs);
      await home.postgres?.start();
      const ackedDown = acked.length;
      await untilTrue(() => acked.length > ackedDown + 200);
    }
    isEnding = true;
    await Promise.all(lanes);
    const found = new Set<string>();
    for (let start = 0; start < acked.length; start += 500) {
      for (const row of await store.findEvents(mcpId, acked.slice(start, start + 500))) found.add(row.eventId);
    }
    expect(acked.filter((id) => !found.has(id))).toEqual([]);
    expect((await store.countInteractions(mcpId)).total, "each once").toBe(acked.length);
  });

  it("a lock that is held too long is transient, and so is a cancelled statement", async () => {
    const other = postgres(home.postgres?.url ?? "", { max: 1, onnotice: () => {} });
    const event = newEvent({ interactionId: freshName("i") });
    await store.append(0, [event]);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let isLocked = (): void => {};
    const locked = new Promise<void>((resolve) => {
      isLocked = resolve;
    });
    const blocking = other.begin(async (transaction) => {
      await transaction`SELECT 1 FROM interaction WHERE interaction_id = ${event.interactionId} FOR UPDATE`;
      isLocked();
      await held;
    });
    await locked;
    const patient = await home.open();
    const { fault } = await timed(patient.append(0, [newEvent({ interactionId: event.interactionId })]));
    expect(fault).toMatchObject({ kind: "transient", code: "55P03" });
    const { fault: other2 } = await timed(patient.append(1, [newEvent({ interactionId: freshName("i") })]));
    expect(other2, "the other lane is not affected").toBeUndefined();
    release();
    await blocking;
    await other.end();
    await patient.close();
  });

  it("readers who wait keep no session waiting, nor are they taken for an outage, and one who has left is not served", async () => {
    const patient = await home.open();
    const admin = postgres(home.postgres?.url ?? "", { max: 1, onnotice: () => {} });
    const all = { mcpId: undefined, state: undefined, requestType: undefined, sessionId: undefined };
    const gone = new AbortController();
    let reads: Promise<unknown>[] = [];
    await admin.begin(async (transaction) => {
      await transaction`LOCK TABLE interaction IN ACCESS EXCLUSIVE MODE`;
      reads = Array.from({ length: 30 }, () => patient.listInteractions(all, 1, undefined));
      const left = patient.countInteractions(undefined, gone.signal);
      // What the coordinator itself needs, while all that readers have is taken.
      await Promise.all([patient.ping(), patient.openProducer(freshName("p"), "mcp", "s", "c"), patient.readMcpChanges(-1)]);
      gone.abort(new Error("the deadline passed"));
      await expect(left).rejects.toThrow("the deadline passed");
    });
    await Promise.all(reads);
    await admin.end();
    await patient.close();
  });

  it("an opening whose client left while the database was away is not carried out: it would fence the session opened elsewhere since", async () => {
    const [first, second] = [freshName("p"), freshName("p")];
    await store.ping();
    proxy.set("swallow");
    const swallowed = timed(store.openProducer(first, "mcp", "s-1", "here"));
    let isThere = true;
    const queued = timed(store.openProducer(second, "mcp", "s-2", "here", () => isThere));
    isThere = false;
    const elsewhere = await home.open();
    expect(await elsewhere.openProducer(second, "mcp", "s-3", "there")).toMatchObject({ epoch: 1 });
    proxy.set("pass");
    expect((await swallowed).fault).toMatchObject({ kind: "outage" });
    expect((await queued).fault).toMatchObject({ code: "ABANDONED" });
    expect(await elsewhere.readEpochs([second])).toEqual(new Map([[second, 1]]));
    await elsewhere.close();
  });

  it("a transaction whose connection the server closes is an outage, and nothing else", async () => {
    const work = (): Promise<unknown> => Promise.all(Array.from({ length: 4 }, () => store.deregisterMcp("nobody", "is not there")));
    for (let turn = 0; turn < 3; turn += 1) await work(); // every connection has prepared the statement
    const other = postgres(home.postgres?.url ?? "", { max: 1, onnotice: () => {} });
    await other.begin(async (transaction) => {
      await transaction`LOCK TABLE mcp, mcp_lease, mcp_counter IN ACCESS EXCLUSIVE MODE`;
      const stuck = Array.from({ length: 4 }, () => timed(store.deregisterMcp("nobody", "is not there")));
      await new Promise((resolve) => setTimeout(resolve, 100));
      // In good order, in the middle of a statement, while others go on: the driver would send a ROLLBACK to a socket that it has given up, and take the process with it.
      while (proxy.cut("close", 1) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
      for (const { fault } of await Promise.all(stuck)) expect(fault).toMatchObject({ kind: "outage" });
    });
    await other.end();
    await untilWorks(append);
    await untilWorks(() => store.deregisterMcp("nobody", "is not there"));
  });

  it("a database that turns read-only is an outage until it turns back", async () => {
    await append();
    const admin = postgres(home.postgres?.url ?? "", { max: 1, onnotice: () => {} });
    await admin`ALTER DATABASE postgres SET default_transaction_read_only = on`;
    await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mcp-coordinator%'`;
    await untilTrue(async () => {
      const { fault } = await timed(append());
      return fault instanceof StoreFault && fault.kind === "outage" && fault.code === "25006";
    });
    await admin`ALTER DATABASE postgres SET default_transaction_read_only = off`;
    await admin.end();
    await untilWorks(append);
  });

  it("refuses work once closed, at once", async () => {
    await store.close();
    const { fault, tookMs } = await timed(append());
    expect(fault).toMatchObject({ kind: "outage", code: "CLOSED" });
    expect(tookMs).toBeLessThan(watchdogMs);
  });
});

async function untilTrue(condition: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > untilMs) throw new Error("the condition did not become true");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
