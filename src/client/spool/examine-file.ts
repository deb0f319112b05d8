import { type DataFile, type FileFault, openDataFile } from "./data-file.js";
import { databaseNames, dataFileOf, placeOf } from "./environment.js";
import { namedTrees, scanLeaves, type TreeEntry, type WalkDepth, walkTree } from "./tree-walk.js";

/** A smaller file is looked at as a whole at each opening: some tens of milliseconds. */
const wholeMaxBytes = 64 * 1024 * 1024;
const faultsNamedMax = 5;

/**
 * What keeps LMDB from reading the file of a spool safely; undefined when nothing does, or there is none. At most five faults are named.
 * `isSuspect`: the last process that held it ended without closing it. Then, and for small files, every page is looked at, else every branch.
 * Errors: the file system's.
 */
export function examineFile(directory: string, isSuspect: boolean): string | undefined {
  // Pages are read as 64-bit little-endian machines write them, which all are that lmdb is built for, but one.
  if (process.arch === "arm") return undefined;
  const file = openDataFile(dataFileOf(directory));
  if (file === undefined) return undefined;
  try {
    const faults = findFaults(file, isSuspect);
    return faults.length === 0 ? undefined : faults.map(({ page, what }) => `page ${page}: ${what}`).join("; ");
  } finally {
    file.close();
  }
}

function findFaults(file: DataFile, isSuspect: boolean): readonly FileFault[] {
  const faults: FileFault[] = [...file.faults];
  const onFault = (fault: FileFault): void => {
    if (faults.length < faultsNamedMax) faults.push(fault);
  };
  const [meta] = file.metas;
  if (meta === undefined || faults.length > 0) return faults;
  const isShort = file.bytes < (meta.lastPage + 1) * meta.pageBytes;
  const depth: WalkDepth = isSuspect || isShort || file.bytes <= wholeMaxBytes ? "heads" : "branches";
  for (const root of [meta.free, ...namedTrees(file, meta, onFault).values()]) {
    let entries = 0;
    for (const _ of walkTree(file, meta, root, depth, onFault)) entries++;
    if (faults.length >= faultsNamedMax) break;
    if (depth === "heads" && faults.length === 0 && entries !== root.entries)
      onFault({ page: root.page, what: `the tree below it has ${entries} entries instead of ${root.entries}` });
  }
  return faults;
}

/** An entry of a broken file whose key is a place. Valid until the next one. */
export type Salvaged = { readonly place: number; readonly value: Buffer };

/** Entries of the trees of a broken file, as far as they can be followed. `isWhole` of the result: nothing is missing. */
export function* salvageTrees(file: DataFile): Generator<Salvaged, { readonly isWhole: boolean }> {
  const [meta] = file.metas;
  if (meta === undefined) return { isWhole: false };
  let isWhole = true;
  const onFault = (): void => {
    isWhole = false;
  };
  const trees = namedTrees(file, meta, onFault);
  for (const name of [databaseNames.events, databaseNames.setAside]) {
    const root = trees.get(name);
    if (root !== undefined) yield* placed(walkTree(file, meta, root, "values", onFault));
    else isWhole = false;
  }
  return { isWhole };
}

/** All that lies in a broken file, removed or not. */
export const salvageLeaves = (file: DataFile): Generator<Salvaged> => placed(scanLeaves(file));

function* placed(entries: Iterable<TreeEntry>): Generator<Salvaged> {
  for (const { key, value } of entries) {
    const place = placeOf(key);
    if (place !== undefined && value !== undefined) yield { place, value };
  }
}
