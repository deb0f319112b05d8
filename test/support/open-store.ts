import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { systemClock } from "../../src/platform/clock.js";
import { openStore, type StoreOptions } from "../../src/store/open.js";
import type { Store } from "../../src/store/store.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "./postgres.js";

/** The thread of the embedded store as built; a thread cannot load sources. */
export const workerUrl = new URL("../../dist/src/store/embedded-worker.js", import.meta.url);

/** Settings of a store in tests; `more` overrides. */
export function storeOptions(more: Partial<StoreOptions> = {}): StoreOptions {
  if (more.databaseUrl === undefined && !existsSync(workerUrl)) throw new Error("the embedded store's thread is not built: npm run build");
  return {
    dataDir: join(tmpdir(), "mcpc-not-used"),
    retentionDays: 30,
    dedupeHorizonDays: 7,
    maxRecords: 1_000_000,
    clock: systemClock,
    log: pino({ level: "silent" }),
    workerUrl,
    ...more,
  };
}

export type StoreKind = Store["kind"];

/** Both kinds of store, with why one cannot be tested on this machine. */
export const storeKinds: readonly { readonly kind: StoreKind; readonly skip: string | undefined }[] = [
  { kind: "embedded", skip: undefined },
  { kind: "postgres", skip: postgresSkipReason() },
];

/** A place for stores of one kind: a data directory or a server. */
export type StoreHome = {
  readonly postgres: RunningPostgres | undefined;
  /** Opens a store, on the same data each time. */
  readonly open: (more?: Partial<StoreOptions>) => Promise<Store>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export async function createStoreHome(kind: StoreKind): Promise<StoreHome> {
  if (kind === "embedded") {
    const dataDir = mkdtempSync(join(tmpdir(), "mcpc-data-"));
    return {
      postgres: undefined,
      open: (more) => openStore(storeOptions({ dataDir, ...more })),
      [Symbol.asyncDispose]: async () => rmSync(dataDir, { recursive: true, force: true }),
    };
  }
  const server = await startPostgres();
  return {
    postgres: server,
    open: (more) => openStore(storeOptions({ databaseUrl: server.url, ...more })),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
