import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { limits } from "../../src/platform/limits.js";
import { Directory, type DirectoryChange } from "../../src/registry/directory.js";
import { LeaseKeeper } from "../../src/registry/keep-leases.js";
import { freshLease } from "../../src/registry/lease.js";
import { type LeaseBeat, type RegisterOptions, type RegistryStore, unsaidProfile } from "../../src/store/registry-rows.js";
import { type Store, StoreFault } from "../../src/store/store.js";
import { createDeferred } from "../support/deferred.js";
import { ManualClock } from "../support/manual-clock.js";
import { plainMcpConfig } from "../support/mcp-config.js";
import { freshName } from "../support/new-event.js";
import { createStoreHome, type StoreHome } from "../support/open-store.js";

const log = pino({ level: "silent" });
const dayMs = 86_400_000;
const heartbeatMs = 3_000;
const config = { ...plainMcpConfig, heartbeatInterval: heartbeatMs / 1_000 };

async function register(store: Store, name: string, key?: RegisterOptions["key"]): Promise<string> {
  const options = { coordinatorId: "here", config, onlyMcpId: undefined, key, renewKey: key !== undefined, maxCount: 10_000 };
  const registered = await store.registerMcp({ name, version: "1.0.0", instance: "", profile: unsaidProfile }, options);
  if (registered.kind !== "registered") throw new Error(`not registered: ${registered.kind}`);
  return registered.mcp.mcpId;
}

const down = new StoreFault("outage", "ECONNREFUSED", "no store");

describe("on one store", () => {
  const homes: StoreHome[] = [];
  const stores: Store[] = [];
  const openStore = async (): Promise<Store> => {
    const home = await createStoreHome("embedded");
    homes.push(home);
    const store = await home.open();
    stores.push(store);
    return store;
  };
  let store: Store;
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(async () => {
    for (const one of stores) await one.close();
    for (const home of homes) await home[Symbol.asyncDispose]();
  });

  describe("the directory", () => {
    /** Follows the store with reads that can be held, refused, and turned to another store. */
    function follow(isShared = false) {
      const clock = new ManualClock(1_000_000);
      const changes: DirectoryChange[] = [];
      const read: { from: Store; count: number; gate: Promise<void> | undefined; isDown: boolean } = {
        from: store,
        count: 0,
        gate: undefined,
        isDown: false,
      };
      const readMcpChanges: RegistryStore["readMcpChanges"] = async (revision) => {
        read.count += 1;
        if (read.isDown) {
          await read.gate;
          throw down;
        }
        const found = await read.from.readMcpChanges(revision);
        await read.gate; // what was read grows old before it is taken over
        return found;
      };
      const directory = new Directory({ readMcpChanges, clock, log, isShared });
      directory.subscribe((change) => changes.push(change));
      return { clock, directory, read, changes };
    }

    it("shows everyone who waits what was committed before he asked, with one read for all that ask during another", async () => {
      const { directory, read } = follow();
      await directory.start();
      const gate = createDeferred();
      read.gate = gate.promise;
      const early = await register(store, freshName("early"));
      const first = directory.refresh();
      const late = await register(store, freshName("late"));
      const before = read.count;
      const others = Array.from({ length: 10 }, () => directory.refresh().then(() => directory.get(late)?.mcpId));
      gate.resolve();
      await first;
      expect(directory.get(early)?.mcpId).toBe(early);
      expect(await Promise.all(others)).toEqual(Array.from({ length: 10 }, () => late));
      expect(read.count - before).toBeLessThanOrEqual(2);
    });

    it("lets only who began a read hear that it failed, and reads again for those who waited", async () => {
      const { directory, read } = follow();
      await directory.start();
      const mcpId = await register(store, freshName("after"));
      const gate = createDeferred();
      read.gate = gate.promise;
      read.isDown = true;
      const before = read.count;
      const first = directory.refresh();
      await expect.poll(() => read.count).toBe(before + 1);
      const second = directory.refresh();
      read.isDown = false;
      gate.resolve();
      const [began, waited] = await Promise.allSettled([first, second]);
      expect([began.status, waited.status]).toEqual(["rejected", "fulfilled"]);
      expect(directory.get(mcpId)?.mcpId).toBe(mcpId);
    });

    it("looks for changes of others by itself where the store is shared, keeps what it knows during an outage, and goes on after it", async () => {
      const { clock, directory, read } = follow(true);
      await directory.start();
      const known = await register(store, freshName("known"));
      await clock.advance(limits.registryPollMs);
      await expect.poll(() => directory.get(known)?.mcpId).toBe(known);
      read.isDown = true;
      const unknown = await register(store, freshName("unknown"));
      for (let passed = 0; passed < 5; passed += 1) {
        await expect.poll(() => clock.timerCount).toBe(1);
        await clock.advance(limits.registryPollMs);
      }
      expect([directory.get(known)?.mcpId, directory.get(unknown)]).toEqual([known, undefined]);
      read.isDown = false;
      await expect.poll(() => clock.timerCount).toBe(1);
      await clock.advance(limits.registryPollMs);
      await expect.poll(() => directory.get(unknown)?.mcpId).toBe(unknown);
      await expect.poll(() => clock.timerCount).toBe(1);
      directory.close();
      expect(clock.timerCount).toBe(0);
    });

    it("knows whose a key is until it is replaced, tells which was revoked, and forgets what the store has forgotten", async () => {
      const { directory, changes } = follow();
      await directory.start();
      const name = freshName("keyed");
      const mcpId = await register(store, name, { keyId: "k1", sha256: `${name}-1` });
      const staying = await register(store, freshName("staying"));
      await directory.refresh();
      expect(directory.byKey(`${name}-1`)?.mcpId).toBe(mcpId);
      await register(store, name, { keyId: "k2", sha256: `${name}-2` });
      await directory.refresh();
      expect([directory.byKey(`${name}-1`), directory.byKey(`${name}-2`)?.mcpId]).toEqual([undefined, mcpId]);
      expect(changes.at(-1)?.revokedKeyIds).toEqual(["k1"]);
      await store.deregisterMcp(mcpId, "done");
      await directory.refresh();
      expect(directory.get(mcpId)?.lease.state).toBe("deregistered");
      expect(directory.byKey(`${name}-2`)).toBeUndefined();
      const laterMs = Date.now() + 60 * dayMs;
      await store.maintain(laterMs, laterMs);
      await directory.refresh();
      expect(directory.get(mcpId)).toBeUndefined();
      expect(changes.at(-1)?.forgotten).toEqual([mcpId]);
      expect(directory.get(staying)?.mcpId).toBe(staying);
      expect(directory.floor).toBeGreaterThan(0);
    });

    it("begins anew when the database is another one, with fewer revisions than it has seen", async () => {
      const { directory, read, changes } = follow();
      const gone = await register(store, freshName("gone"), { keyId: "k", sha256: freshName("sha") });
      await register(store, freshName("gone"));
      await directory.start();
      const sha256 = directory.get(gone)?.keySha256 ?? "";
      const before = directory.revision;
      const other = await openStore();
      const mcpId = await register(other, "new-001");
      read.from = other;
      await directory.refresh();
      expect(directory.revision).toBeLessThan(before);
      expect([...directory.all()].map((mcp) => mcp.mcpId)).toEqual([mcpId]);
      expect(directory.byKey(sha256)).toBeUndefined();
      expect(changes.at(-1)?.forgotten).toContain(gone);
      const next = await register(other, "new-002");
      await directory.refresh();
      expect(directory.get(next)?.mcpId).toBe(next);
    });
  });

  describe("the keeper of leases", () => {
    let clock: ManualClock;
    let directory: Directory;
    let keeper: LeaseKeeper;
    let live: Set<string>;
    let isDown: boolean;
    const reach = (): void => {
      if (isDown) throw down;
    };
    beforeEach(async () => {
      clock = new ManualClock(1_000_000);
      live = new Set();
      isDown = false;
      directory = new Directory({ readMcpChanges: store.readMcpChanges, clock, log, isShared: false });
      keeper = new LeaseKeeper({
        store: {
          registerGreeted: store.registerGreeted,
          changeLeases: async (changes, coordinatorId) => {
            reach();
            return store.changeLeases(changes, coordinatorId);
          },
          readLeaseBeats: async () => {
            reach();
            return store.readLeaseBeats();
          },
        },
        directory,
        liveMcpIds: () => new Set(live),
        coordinatorId: "here",
        defaults: config,
        misses: { suspect: 2, dead: 4 },
        clock,
        log,
      });
    });

    /** Lets so many ticks pass, each with what it asks of the store. */
    async function pass(ms: number): Promise<void> {
      for (let passed = 0; passed < ms; passed += limits.leaseTickMs) {
        await clock.advance(limits.leaseTickMs);
        await expect.poll(() => clock.timerCount).toBe(1);
      }
    }

    const beatOf = async (mcpId: string): Promise<LeaseBeat | undefined> =>
      (await store.readLeaseBeats()).find((lease) => lease.mcpId === mcpId);

    async function begin(name: string): Promise<string> {
      const mcpId = await register(store, freshName(name));
      await directory.start();
      keeper.start();
      return mcpId;
    }

    it("renews an MCP that is here three times in each of its intervals, and is its owner", async () => {
      const mcpId = await begin("here");
      live.add(mcpId);
      const before = (await beatOf(mcpId))?.beat ?? 0;
      await pass(2 * heartbeatMs);
      expect(((await beatOf(mcpId))?.beat ?? 0) - before).toBe(6);
      expect(keeper.isOwner(mcpId)).toBe(true);
      await keeper.close();
    });

    it("finds one that nobody hears suspect and then dead by its own interval, and alive again when its events come", async () => {
      const mcpId = await begin("silent");
      await pass(limits.leaseTickMs);
      await pass(2 * heartbeatMs - limits.leaseTickMs);
      expect((await beatOf(mcpId))?.state).toBe("alive");
      await pass(limits.leaseTickMs);
      expect((await beatOf(mcpId))?.state).toBe("suspect");
      await pass(2 * heartbeatMs);
      await directory.refresh();
      expect(directory.get(mcpId)?.lease.state).toBe("dead");
      // The signs of life that a lease needs which was away once.
      for (let sign = 0; sign < 4; sign += 1) {
        keeper.heard(mcpId);
        await pass(limits.leaseTickMs);
        await directory.refresh();
      }
      expect(directory.get(mcpId)?.lease.state).toBe("alive");
      await keeper.close();
    });

    it("makes one suspect whose last stream ended, after the time to come back, unless another coordinator renewed it", async () => {
      const [lost, moved] = [await register(store, freshName("lost")), await register(store, freshName("moved"))];
      for (const mcpId of [lost, moved]) {
        await store.updateMcpConfig(mcpId, 1, (before) => ({ ...before, heartbeatInterval: 3_600 }), "slow");
        live.add(mcpId);
      }
      await directory.start();
      keeper.start();
      await pass(limits.leaseTickMs);
      live.clear();
      for (let passed = 0; passed < limits.leaseLostGraceMs + 2 * limits.leaseTickMs; passed += limits.leaseTickMs) {
        await store.changeLeases(
          [{ mcpId: moved, next: () => freshLease, isBeat: true, expectedBeat: undefined, reason: "it is there" }],
          "there",
        );
        await pass(limits.leaseTickMs);
      }
      expect([(await beatOf(lost))?.state, (await beatOf(moved))?.state]).toEqual(["suspect", "alive"]);
      expect(keeper.isOwner(moved)).toBe(false);
      await keeper.close();
    });

    it("makes one suspect whose last stream ended as soon as that can be written, when the store was away at the time", async () => {
      const mcpId = await register(store, freshName("unwritten"));
      await store.updateMcpConfig(mcpId, 1, (before) => ({ ...before, heartbeatInterval: 3_600 }), "slow");
      live.add(mcpId);
      await directory.start();
      keeper.start();
      await pass(limits.leaseTickMs);
      live.clear();
      await pass(limits.leaseLostGraceMs);
      isDown = true;
      await pass(2 * limits.leaseTickMs);
      expect((await beatOf(mcpId))?.state).toBe("alive");
      isDown = false;
      await pass(limits.leaseTickMs);
      expect((await beatOf(mcpId))?.state).toBe("suspect");
      await keeper.close();
    });

    it("holds an outage of the store against nobody, and closes only after what is under way", async () => {
      const mcpId = await begin("patient");
      live.add(mcpId);
      await pass(limits.leaseTickMs);
      isDown = true;
      await pass(10 * heartbeatMs);
      isDown = false;
      await pass(limits.leaseTickMs);
      expect((await beatOf(mcpId))?.state).toBe("alive");
      const before = (await beatOf(mcpId))?.beat ?? 0;
      await clock.advance(limits.leaseTickMs);
      await keeper.close();
      expect((await beatOf(mcpId))?.beat).toBe(before + 1);
      expect(clock.timerCount).toBe(0);
    });
  });
});
