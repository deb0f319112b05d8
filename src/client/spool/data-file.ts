import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { codeOf } from "./disk-fault.js";

/** Root of a tree of pages, as a meta page or a leaf of the main tree has it. */
export type TreeRoot = { readonly depth: number; readonly entries: number; readonly page: number };

/** One of the two pages that each say what the file holds; a transaction writes one of them, in turn. */
export type MetaPage = {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
  readonly free: TreeRoot;
  readonly main: TreeRoot;
};

/** What stands in the way of reading a file through LMDB. */
export type FileFault = { readonly page: number; readonly what: string };

/** An LMDB file, read without LMDB: what LMDB maps and follows unchecked, a fault of the file ends the process (SPEC.md, "Broken files"). */
export type DataFile = {
  readonly bytes: number;
  /** Those that are whole, newest first. */
  readonly metas: readonly MetaPage[];
  readonly faults: readonly FileFault[];
  /** A page, or several in a row; undefined when the file does not hold them. Valid until the next call. */
  readonly page: (pageBytes: number, page: number, count?: number) => Buffer | undefined;
  readonly close: () => void;
};

/** Layout of pages and nodes on 64-bit little-endian machines.     Source: liblmdb/mdb.c of lmdb 3.5.6: MDB_page_header, MDB_meta, MDB_db. */
export const pageHeadBytes = 24;
export const pageFlags = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;
const magic = 0xbeefc0de;
const dataVersion = 2;
const rootBytes = 48;
const metaBytes = pageHeadBytes + 24 + 2 * rootBytes + 16;
const pageSizes = [4_096, 16_384, 8_192, 32_768, 65_536] as const;

/** Opens the file; undefined when there is none. Errors: the file system's. */
export function openDataFile(path: string): DataFile | undefined {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
  const bytes = fstatSync(file).size;
  let memory = Buffer.allocUnsafe(0);
  const read = (offset: number, length: number): Buffer | undefined => {
    if (offset + length > bytes) return undefined;
    if (memory.length < length) memory = Buffer.allocUnsafe(length);
    return readSync(file, memory, 0, length, offset) === length ? memory.subarray(0, length) : undefined;
  };
  const first = readMeta(read(0, metaBytes));
  // Where the first meta page is not whole, the page size is unknown: the second lies at one of few places.
  const seconds = (first === undefined ? pageSizes : [first.pageBytes]).map((size) => readMeta(read(size, metaBytes)));
  const second = seconds.find((meta) => meta !== undefined);
  const metas = [first, second].filter((meta) => meta !== undefined).sort((a, b) => b.transaction - a.transaction);
  const faults = [first, second].flatMap((meta, page) => (meta === undefined ? [{ page, what: "it is no meta page of this format" }] : []));
  return {
    bytes,
    metas,
    faults,
    page: (pageBytes, page, count = 1) => read(page * pageBytes, count * pageBytes),
    close: () => closeSync(file),
  };
}

function readMeta(head: Buffer | undefined): MetaPage | undefined {
  if (head === undefined || (head.readUInt16LE(18) & pageFlags.meta) === 0) return undefined;
  const at = pageHeadBytes;
  if (head.readUInt32LE(at) !== magic || (head.readUInt32LE(at + 4) & 0xffff) !== dataVersion) return undefined;
  const pageBytes = head.readUInt32LE(at + 24);
  if (!pageSizes.some((size) => size === pageBytes)) return undefined;
  const after = at + 24 + 2 * rootBytes;
  return {
    pageBytes,
    lastPage: Number(head.readBigUInt64LE(after)),
    transaction: Number(head.readBigUInt64LE(after + 8)),
    free: readRoot(head.subarray(at + 24)),
    main: readRoot(head.subarray(at + 24 + rootBytes)),
  };
}

/** A tree's root out of an MDB_db. `page` is above every page of a file when the tree is empty. */
export function readRoot(bytes: Buffer): TreeRoot {
  return { depth: bytes.readUInt16LE(6), entries: Number(bytes.readBigUInt64LE(32)), page: Number(bytes.readBigUInt64LE(40)) };
}

/** Whether the bytes are long enough to be an MDB_db. */
export const isRoot = (bytes: Buffer): boolean => bytes.length === rootBytes;
