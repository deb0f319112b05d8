import { describe, expect, it } from "vitest";
import { limits } from "../../src/platform/limits.js";
import type { RouterDigest } from "../../src/store/store.js";
import { createStoreHome, storeKinds } from "../support/open-store.js";

/** What a story takes is young by this age, however slow its machine is. */
const youngMs = 600_000;

const digest = (more: Partial<RouterDigest>): RouterDigest => ({ coordinatorId: "a", runId: "r1", seq: 1, format: 1, body: "{}", ...more });

describe.each(storeKinds)("the memory of the router in the $kind store", ({ kind, skip }) => {
  it.skipIf(skip !== undefined)(
    "shows each coordinator the young digests of the others and never an older writing",
    { timeout: 120_000 },
    async () => {
      await using home = await createStoreHome(kind);
      const store = await home.open();
      try {
        expect(await store.exchangeDigests(digest({ seq: 5, body: "five" }), youngMs)).toEqual([]);
        const seen = await store.exchangeDigests(digest({ coordinatorId: "b", body: "other" }), youngMs);
        expect(seen).toEqual([{ ...digest({ seq: 5, body: "five" }), ageMs: expect.any(Number) }]);
        expect(seen[0]?.ageMs).toBeGreaterThanOrEqual(0);
        await store.exchangeDigests(digest({ seq: 4, body: "late" }), youngMs);
        await store.exchangeDigests(digest({ seq: 6, body: "six" }), youngMs);
        const [row] = await store.exchangeDigests(digest({ coordinatorId: "b", seq: 2 }), youngMs);
        expect(row).toMatchObject({ seq: 6, body: "six" });
        await store.withdrawDigest("a", "another run");
        expect(await store.exchangeDigests(digest({ coordinatorId: "b", seq: 3 }), youngMs)).toHaveLength(1);
        await store.withdrawDigest("a", "r1");
        expect(await store.exchangeDigests(digest({ coordinatorId: "b", seq: 4 }), youngMs)).toEqual([]);
      } finally {
        await store.close();
      }
    },
  );

  it.skipIf(skip !== undefined)(
    "takes the word of a new run whose clock went back as soon as that of the old one does not count any more",
    { timeout: 120_000 },
    async () => {
      await using home = await createStoreHome(kind);
      const store = await home.open();
      try {
        await store.exchangeDigests(digest({ runId: "before", seq: 1_000, body: "before" }), youngMs);
        await store.exchangeDigests(digest({ runId: "after", seq: 7, body: "after" }), youngMs);
        expect(await store.exchangeDigests(digest({ coordinatorId: "b" }), youngMs)).toMatchObject([{ body: "before" }]);
        // Nothing is young enough for an age of 0: the row of the old run is over.
        await store.exchangeDigests(digest({ runId: "after", seq: 8, body: "after" }), 0);
        expect(await store.exchangeDigests(digest({ coordinatorId: "b", seq: 2 }), youngMs)).toMatchObject([
          { runId: "after", body: "after" },
        ]);
      } finally {
        await store.close();
      }
    },
  );

  it.skipIf(skip !== undefined)(
    "keeps no state for each start of a process in a loop, and finds its own behind newer ones",
    { timeout: 120_000 },
    async () => {
      await using home = await createStoreHome(kind);
      const store = await home.open();
      try {
        const save = (coordinatorId: string) => store.saveRouterState({ coordinatorId, format: 1, body: "{}" }, 86_400_000);
        for (let start = 0; start < limits.routerStatesKeptMax; start += 1) await save(`crashing ${start}`);
        await save("own");
        for (let start = 0; start < 20; start += 1) await save(`again ${start}`);
        expect(await store.readRouterStates("own", 1_000)).toHaveLength(limits.routerStatesKeptMax);
        expect((await store.readRouterStates("own", 2)).map(({ coordinatorId }) => coordinatorId)).toEqual(["own", "again 19"]);
      } finally {
        await store.close();
      }
    },
  );

  it.skipIf(skip !== undefined)("keeps the last state of each coordinator over a restart, newest first", { timeout: 120_000 }, async () => {
    await using home = await createStoreHome(kind);
    const first = await home.open();
    await first.saveRouterState({ coordinatorId: "a", format: 1, body: "old" }, 1_000_000);
    await first.saveRouterState({ coordinatorId: "b", format: 2, body: "beside" }, 1_000_000);
    await first.saveRouterState({ coordinatorId: "a", format: 1, body: "new" }, 1_000_000);
    await first.close();
    const second = await home.open();
    try {
      const states = await second.readRouterStates("nobody", 8);
      expect(states.map(({ coordinatorId, format, body }) => [coordinatorId, format, body])).toEqual([
        ["a", 1, "new"],
        ["b", 2, "beside"],
      ]);
      expect(states.every(({ ageMs }) => ageMs >= 0)).toBe(true);
      expect(await second.readRouterStates("nobody", 1)).toHaveLength(1);
      await second.saveRouterState({ coordinatorId: "a", format: 1, body: "new" }, 0);
      expect((await second.readRouterStates("nobody", 8)).map(({ coordinatorId }) => coordinatorId)).toEqual(["a"]);
    } finally {
      await second.close();
    }
  });
});
