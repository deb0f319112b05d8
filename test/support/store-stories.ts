import { afterAll, beforeAll, it } from "vitest";
import type { StoreOptions } from "../../src/store/open.js";
import type { Store } from "../../src/store/store.js";
import { createStoreHome, type StoreHome, type storeKinds } from "./open-store.js";

/** What the stories of one `describe` have: a store that is open from before the first to after the last, and `story`, which says why where there cannot be one. */
export type StoreStories = {
  readonly story: (name: string, run: () => Promise<void>) => void;
  readonly home: StoreHome;
  readonly store: Store;
};

/** To be called in a `describe`, with an entry of `storeKinds`. The members but `story` are there once a story runs. */
export function tellStories({ kind, skip }: (typeof storeKinds)[number], settings: Partial<StoreOptions> = {}): StoreStories {
  let home: StoreHome | undefined;
  let store: Store | undefined;
  beforeAll(async () => {
    if (skip !== undefined) return;
    home = await createStoreHome(kind);
    store = await home.open(settings);
  });
  afterAll(async () => {
    await store?.close();
    await home?.[Symbol.asyncDispose]();
  });
  const opened = <T>(member: T | undefined): T => {
    if (member === undefined) throw new Error("no store is open yet");
    return member;
  };
  return {
    story: (name, run) => (skip === undefined ? it(name, run) : it.skip(`${name} (${skip})`, () => {})),
    get home() {
      return opened(home);
    },
    get store() {
      return opened(store);
    },
  };
}
