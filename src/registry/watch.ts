import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { StoredMcp } from "../store/registry-rows.js";
import type { Directory } from "./directory.js";
import { fits, type McpFilter } from "./filter.js";

/** A part of what is there, or changed. `revision` is 0 while more of the same moment follows. */
export type WatchPart = { readonly mcps: readonly StoredMcp[]; readonly revision: number };

/**
 * Registrations that changed after a revision, then changes as they come: each MCP as it is now, once, however often it changed since the reader last asked.
 * A slow reader so costs one entry per MCP at most. One that no longer fits is given once more, if it may have fitted before.
 * Ends when `signal` aborts; throws its reason when that is a refusal. Errors: `gone` with REVISION_GONE.
 */
export async function* watchMcps(
  directory: Directory,
  filter: McpFilter,
  afterRevision: number,
  signal: AbortSignal,
): AsyncGenerator<WatchPart> {
  await directory.refresh();
  const given = new Set<string>();
  const isFresh = afterRevision === 0;
  let pending = new Set<string>();
  let wake = (): void => {};
  const unsubscribe = directory.subscribe(({ mcps, forgotten }) => {
    for (const { mcpId } of mcps) pending.add(mcpId);
    for (const mcpId of forgotten) given.delete(mcpId);
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  try {
    if (!isFresh && (afterRevision < directory.floor || afterRevision > directory.revision)) throw goneError(afterRevision, directory);
    for (const mcp of directory.all()) if (mcp.revision > afterRevision) pending.add(mcp.mcpId);
    let isFirst = true;
    while (!signal.aborted) {
      if (pending.size === 0 && !isFirst) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const { revision } = directory;
      const changed = [...pending].map((mcpId) => directory.get(mcpId)).filter((mcp) => mcp !== undefined);
      pending = new Set();
      // Whoever goes on from a revision may hold any of them: those that do not fit are told too. Whoever begins holds none but those given here.
      const told = changed.filter((mcp) => fits(filter, mcp) || given.has(mcp.mcpId) || (!isFresh && isFirst));
      for (const mcp of told) {
        if (fits(filter, mcp)) given.add(mcp.mcpId);
        else given.delete(mcp.mcpId);
      }
      if (!isFresh) for (const mcp of directory.all()) if (isFirst && fits(filter, mcp)) given.add(mcp.mcpId);
      if (isFirst || told.length > 0) yield* partsOf(told, revision);
      isFirst = false;
    }
    if (signal.reason instanceof CoordinatorError) throw signal.reason;
  } finally {
    signal.removeEventListener("abort", onAbort);
    unsubscribe();
  }
}

/** By revision, a message's worth at a time; the last one says that it is the last. */
function* partsOf(mcps: readonly StoredMcp[], revision: number): Generator<WatchPart> {
  const sorted = [...mcps].sort((one, other) => one.revision - other.revision);
  const size = limits.watchMcpsPerMessage;
  for (let start = 0; start === 0 || start < sorted.length; start += size) {
    yield { mcps: sorted.slice(start, start + size), revision: start + size >= sorted.length ? revision : 0 };
  }
}

function goneError(afterRevision: number, { floor, revision }: Directory): CoordinatorError {
  const message = `changes after revision ${afterRevision} are not known; known are those after ${floor} up to ${revision}: start again with 0`;
  return new CoordinatorError("gone", message, { reason: "REVISION_GONE", metadata: { floor: String(floor), revision: String(revision) } });
}
