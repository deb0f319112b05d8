import { type DataFile, type FileFault, isRoot, type MetaPage, pageFlags, pageHeadBytes, readRoot, type TreeRoot } from "./data-file.js";

/** An entry of a leaf. `value` is undefined when it was not asked for. Both are valid until the walk goes on. */
export type TreeEntry = { readonly key: Buffer; readonly flags: number; readonly value: Buffer | undefined };

/** How much of a tree is looked at: of `branches` nothing below them; of `heads` not what large values hold; `values` all. */
export type WalkDepth = "branches" | "heads" | "values";

type Walk = {
  readonly file: DataFile;
  readonly meta: MetaPage;
  readonly depth: WalkDepth;
  readonly onFault: (fault: FileFault) => void;
  /** Pages seen, one bit each: a page that is in two places is a fault, and would make the walk endless. Undefined where an old leaf may share pages with a newer one. */
  readonly seen: Uint8Array | undefined;
};

/** Flags of nodes: the value is on pages of its own, the value is the root of a tree. */
const bigData = 0x01;
export const subTree = 0x02;
const nodeHeadBytes = 8;
/** As deep as LMDB's own cursors. */
const depthMax = 32;
const emptyTree = 2 ** 63;
/** Where no meta page tells. */
const usualPageBytes = 4_096;

/**
 * The entries of a tree, in order of their keys, as far as they can be read; each fault is told and what lies behind it is left out.
 * Everything is bounded by the pages of the file.
 */
export function* walkTree(
  file: DataFile,
  meta: MetaPage,
  root: TreeRoot,
  depth: WalkDepth,
  onFault: (fault: FileFault) => void,
): Generator<TreeEntry> {
  if (root.page >= emptyTree) return;
  const seen = new Uint8Array(Math.ceil((Math.min(meta.lastPage, file.bytes / meta.pageBytes) + 1) / 8) + 1);
  yield* walkPage({ file, meta, depth, onFault, seen }, root.page, Math.min(root.depth, depthMax));
}

/** The roots of the named trees of a file. */
export function namedTrees(file: DataFile, meta: MetaPage, onFault: (fault: FileFault) => void): ReadonlyMap<string, TreeRoot> {
  const roots = new Map<string, TreeRoot>();
  for (const { key, flags, value } of walkTree(file, meta, meta.main, "values", onFault)) {
    if ((flags & subTree) !== 0 && value !== undefined && isRoot(value))
      roots.set(key.toString("utf8").replace(/\0+$/, ""), readRoot(value));
  }
  return roots;
}

/**
 * The entries of every leaf in a file, whichever tree it belongs to or belonged to: also what was removed and not yet overwritten.
 * For files whose trees cannot be followed.
 */
export function* scanLeaves(file: DataFile): Generator<TreeEntry> {
  const pageBytes = file.metas[0]?.pageBytes ?? usualPageBytes;
  const lastPage = Math.floor(file.bytes / pageBytes) - 1;
  const none = { depth: 0, entries: 0, page: emptyTree };
  const meta: MetaPage = { pageBytes, lastPage, transaction: 0, free: none, main: none };
  const onFault = (): void => undefined;
  for (let page = 2; page <= lastPage; page++) {
    const bytes = file.page(pageBytes, page);
    if (bytes === undefined || headFault(bytes, page, true) !== undefined) continue;
    yield* pageEntries({ file, meta, depth: "values", onFault, seen: undefined }, Buffer.from(bytes), page, 1);
  }
}

function* walkPage(walk: Walk, page: number, level: number): Generator<TreeEntry> {
  const { meta, file, onFault, depth } = walk;
  const isLeaf = level <= 1;
  if (isLeaf && depth === "branches") {
    if ((page + 1) * meta.pageBytes > file.bytes) onFault({ page, what: "it is beyond the end of the file" });
    return;
  }
  const wrong = see(walk, page);
  const bytes = wrong === undefined ? file.page(meta.pageBytes, page) : undefined;
  const what = wrong ?? (bytes === undefined ? "it is beyond the end of the file" : headFault(bytes, page, isLeaf));
  if (what !== undefined || bytes === undefined) {
    onFault({ page, what: what ?? "it cannot be read" });
    return;
  }
  yield* pageEntries(walk, Buffer.from(bytes), page, level); // the page of a child takes its place in the file's memory
}

function* pageEntries(walk: Walk, bytes: Buffer, page: number, level: number): Generator<TreeEntry> {
  const count = bytes.readUInt16LE(20) >> 1;
  for (let i = 0; i < count; i++) {
    const node = nodeAt(bytes, i);
    if (node === undefined) walk.onFault({ page, what: `its entry ${i} does not lie in it` });
    else if (level <= 1) yield* leafEntry(walk, page, node);
    else yield* walkPage(walk, childOf(node), level - 1);
  }
}

function see(walk: Walk, page: number): string | undefined {
  if (page < 2 || page > walk.meta.lastPage) return "there is no such page";
  if (walk.seen === undefined) return undefined;
  const bit = 1 << (page & 7);
  const seen = walk.seen[page >> 3];
  if (seen === undefined) return "it is beyond the end of the file";
  if ((seen & bit) !== 0) return "it is in two places";
  walk.seen[page >> 3] = seen | bit;
  return undefined;
}

function headFault(bytes: Buffer, page: number, isLeaf: boolean): string | undefined {
  if (Number(bytes.readBigUInt64LE(0)) !== page) return "it is another page";
  const flags = bytes.readUInt16LE(18);
  if ((flags & 0xff) !== (isLeaf ? pageFlags.leaf : pageFlags.branch)) return `it is no ${isLeaf ? "leaf" : "branch"}`;
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  if (lower > upper || upper > bytes.length - pageHeadBytes) return "its bounds are wrong";
  return lower < (isLeaf ? 2 : 4) ? "it is empty" : undefined;
}

/** The bytes of a page from an entry on; undefined when it does not begin in the page. */
function nodeAt(bytes: Buffer, index: number): Buffer | undefined {
  const offset = pageHeadBytes + bytes.readUInt16LE(pageHeadBytes + 2 * index);
  if (offset + nodeHeadBytes > bytes.length) return undefined;
  const node = bytes.subarray(offset);
  return nodeHeadBytes + node.readUInt16LE(6) > node.length ? undefined : node;
}

/** A branch's entry has a page number of 48 bits where a leaf's has the size of its value and flags. */
const childOf = (node: Buffer): number => node.readUInt32LE(0) + node.readUInt16LE(4) * 2 ** 32;

function* leafEntry(walk: Walk, page: number, node: Buffer): Generator<TreeEntry> {
  const flags = node.readUInt16LE(4);
  const valueAt = nodeHeadBytes + node.readUInt16LE(6);
  const size = node.readUInt32LE(0);
  const key = node.subarray(nodeHeadBytes, valueAt);
  if ((flags & bigData) === 0) {
    if (valueAt + size > node.length) walk.onFault({ page, what: "a value does not lie in it" });
    else yield { key, flags, value: node.subarray(valueAt, valueAt + size) };
    return;
  }
  if (valueAt + 24 > node.length) {
    walk.onFault({ page, what: "a value does not lie in it" });
    return;
  }
  const value = overflowValue(walk, Number(node.readBigUInt64LE(valueAt)), size);
  if (typeof value === "string") walk.onFault({ page, what: value });
  else yield { key, flags, value };
}

/** A value on pages of its own; what is wrong with them instead, if something is. */
function overflowValue(walk: Walk, page: number, size: number): Buffer | undefined | string {
  const { file, meta, depth } = walk;
  const count = Math.floor((pageHeadBytes - 1 + size) / meta.pageBytes) + 1;
  if (page + count - 1 > meta.lastPage || (page + count) * meta.pageBytes > file.bytes)
    return "a large value is beyond the end of the file";
  const wrong = see(walk, page);
  if (wrong !== undefined) return `page ${page} of a large value: ${wrong}`;
  const bytes = file.page(meta.pageBytes, page, depth === "values" ? count : 1);
  if (bytes === undefined || Number(bytes.readBigUInt64LE(0)) !== page || (bytes.readUInt16LE(18) & pageFlags.overflow) === 0)
    return `page ${page} is not of a large value`;
  if (bytes.readUInt32LE(20) < count) return `page ${page} has too few with it`;
  return depth === "values" ? bytes.subarray(pageHeadBytes, pageHeadBytes + size) : undefined;
}
