import { join } from "node:path";
import { type Database, open, type RootDatabase } from "lmdb";
import { limits } from "../../platform/limits.js";

/** Where LMDB keeps everything. */
export const dataFileOf = (directory: string): string => join(directory, "data.mdb");

/** Names of the databases in the file. */
export const databaseNames = { events: "events", progress: "progress", setAside: "set-aside", meta: "meta" } as const;

/** The key of the only record of `meta`. */
export const stateKey = "state";

/** The LMDB environment of a spool and its databases. Keys are places. */
export type Environment = {
  readonly root: RootDatabase<Buffer, string>;
  /** Records of events. */
  readonly events: Database<Buffer, number>;
  /** Which of them are progress, with the size of each: what may be dropped is found without reading anything else. */
  readonly progress: Database<Buffer, number>;
  readonly setAside: Database<Buffer, number>;
  readonly meta: Database<Buffer, string>;
};

/**
 * Opens the databases. `overlappingSync` is off: a transaction is visible only when it is on disk, and a refusal of the disk reaches who wrote it.
 * Errors: what LMDB throws.
 */
export function openEnvironment(directory: string, isReadOnly = false): Environment {
  const root = open<Buffer, string>({
    path: directory,
    noSubdir: false, // a path such as interaction_cache.db would otherwise be taken for the file itself
    overlappingSync: false,
    maxDbs: 8,
    encoding: "binary",
    readOnly: isReadOnly,
    mapSize: mapBytes,
  });
  const database = <K extends string | number>(name: string): Database<Buffer, K> => root.openDB<Buffer, K>({ name, encoding: "binary" });
  return {
    root,
    events: database(databaseNames.events),
    progress: database(databaseNames.progress),
    setAside: database(databaseNames.setAside),
    meta: database(databaseNames.meta),
  };
}

/** Address space that is reserved, not memory and not disk: LMDB never has to move its map, which it grows beyond this if it must. */
const mapBytes = 4 * (limits.spoolMaxBytes + limits.spoolSetAsideMaxBytes);
