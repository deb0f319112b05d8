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
    eventTurnBatching: false, // one more promise inside lmdb, without a reader: a refusal of the disk would end the process
    maxDbs: 8,
    encoding: "binary",
    readOnly: isReadOnly,
    mapSize: mapBytes,
  });
  const byPlace = (name: string): Database<Buffer, number> => {
    const options = { name, encoding: "binary", keyEncoder: placeKey } as const;
    return root.openDB<Buffer, number>(options);
  };
  return {
    root,
    events: byPlace(databaseNames.events),
    progress: byPlace(databaseNames.progress),
    setAside: byPlace(databaseNames.setAside),
    meta: root.openDB<Buffer, string>({ name: databaseNames.meta, encoding: "binary" }),
  };
}

/** Entries of a database after a place, in order. The start is always given: lmdb's own would leave out small keys. */
export const rangeAfter = (database: Database<Buffer, number>, place: number): Iterable<{ readonly key: number; readonly value: Buffer }> =>
  database.getRange({ start: Math.max(0, Math.floor(place)), exclusiveStart: true });

const placeBytes = 8;

/** A place as a key: 8 bytes, big endian, so that keys are in order and can be read without lmdb. Places begin with 1. */
const placeKey = {
  writeKey: (place: number, target: Buffer, start: number): number => {
    writeUint32(target, start, Math.floor(place / 2 ** 32));
    writeUint32(target, start + 4, place >>> 0);
    return start + placeBytes;
  },
  readKey: (source: Buffer, start: number): number => readUint32(source, start) * 2 ** 32 + readUint32(source, start + 4),
};

/** The place of a key; undefined when it is none. */
export const placeOf = (key: Buffer): number | undefined => (key.length === placeBytes ? placeKey.readKey(key, 0) : undefined);

/** By single bytes: lmdb gives memory of any view. */
function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

function readUint32(source: Uint8Array, at: number): number {
  return (source[at] ?? 0) * 2 ** 24 + (((source[at + 1] ?? 0) << 16) | ((source[at + 2] ?? 0) << 8) | (source[at + 3] ?? 0));
}

/** Address space that is reserved, not memory and not disk: LMDB never has to move its map, which it grows beyond this if it must. */
const mapBytes = 4 * (limits.spoolMaxBytes + limits.spoolSetAsideMaxBytes);
