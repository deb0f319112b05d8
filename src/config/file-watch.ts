import { type BigIntStats, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { Clock } from "../platform/clock.js";

/**
 * Tells one content of a file from another without reading it: device, inode, size and times of what the path leads to, links followed, so that a rename over it and a swapped link are
 * other marks too. "" when there is no such file.
 */
export type FileMark = string;

/** What has been seen of a file: the content that is in force, the newest, and since when that has been the newest. Units: ms, monotonic. */
export type FileSight = { readonly taken: FileMark; readonly seen: FileMark; readonly sinceMs: number };

/** The next sight after a look, and whether what was seen is to be read: it is another content than the one in force, and has stood still for `settleMs`. Pure. */
export function look(
  sight: FileSight,
  seen: FileMark,
  nowMs: number,
  settleMs: number,
): { readonly next: FileSight; readonly isDue: boolean } {
  const sinceMs = seen === sight.seen ? sight.sinceMs : nowMs;
  return { next: { taken: sight.taken, seen, sinceMs }, isDue: seen !== sight.taken && nowMs - sinceMs >= settleMs };
}

export type FileWatchDeps<Content> = {
  readonly clock: Clock;
  readonly path: string;
  /** How often the file is looked at, and how long it must have stood still to be read. Units: ms. */
  readonly everyMs: number;
  readonly settleMs: number;
  /** The mark of the content that is in force when the watch begins. */
  readonly taken: FileMark;
  /** Reads what is there. Must not throw. */
  readonly read: () => Content;
  /** Gets each content once: what was read while it stood still. Must not throw. */
  readonly take: (content: Content) => void;
};

/** A watch over one file. */
export type FileWatch = {
  /** A content that somebody else has taken over: it is not due any more. */
  readonly skip: (mark: FileMark) => void;
  readonly close: () => void;
};

/** Looks at a file again and again, by its times rather than by events of the file system: those do not come from network file systems, and follow no swapped link. */
export function watchFile<Content>(deps: FileWatchDeps<Content>): FileWatch {
  const { clock, path, everyMs, settleMs } = deps;
  let sight: FileSight = { taken: deps.taken, seen: deps.taken, sinceMs: clock.monotonicMs() };
  let isClosed = false;
  const lookOnce = async (): Promise<void> => {
    const mark = await markLater(path);
    const looked = look(sight, mark, clock.monotonicMs(), settleMs);
    sight = looked.next;
    if (!looked.isDue || isClosed) return;
    const content = deps.read();
    const after = await markLater(path);
    // What changed while it was read may be half of two contents: it is read when it stands still again.
    if (after !== mark || isClosed || sight.taken === mark) return;
    sight = { ...sight, taken: mark };
    deps.take(content);
  };
  // One look at a time: a file system that hangs keeps one look waiting, and nothing else.
  const lookAgain = (): void => {
    cancel = clock.after(everyMs, () => void lookOnce().then(() => (isClosed ? undefined : lookAgain())));
  };
  let cancel = (): void => {};
  lookAgain();
  return {
    skip: (mark) => {
      sight = { ...sight, taken: mark };
    },
    close: () => {
      isClosed = true;
      cancel();
    },
  };
}

/** The mark of a file now; undefined for what cannot be watched: a pipe, a device, a directory. */
export function markNow(path: string): FileMark | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (found !== undefined && !found.isFile()) return undefined;
  return markOf(found);
}

async function markLater(path: string): Promise<FileMark> {
  try {
    return markOf(await stat(path, { bigint: true }));
  } catch {
    // Failure becomes state: what cannot be looked at is not there.
    return "";
  }
}

const markOf = (found: BigIntStats | undefined): FileMark =>
  found === undefined ? "" : [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(" ");
