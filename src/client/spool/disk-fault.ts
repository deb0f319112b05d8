import { statfsSync } from "node:fs";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";

/** No room: ENOSPC, EFBIG and EDQUOT as LMDB gives them on Linux and macOS, and MDB_MAP_FULL. */
const fullCodes = new Set<unknown>(["ENOSPC", "EDQUOT", "EFBIG", 28, 122, 69, 27, -30792]);
/** LMDB says "input/output error" when only part of a write had room. */
const ioCodes = new Set<unknown>(["EIO", 5]);
const deniedCodes = new Set<unknown>(["EACCES", "EPERM", "EROFS", 13, 1, 30]);

/** What the file system or LMDB threw, as the refusal that a caller can act on. `path` is named in it. */
export function diskFault(path: string, thrown: unknown): CoordinatorError {
  if (thrown instanceof CoordinatorError) return thrown;
  const code = codeOf(thrown);
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (fullCodes.has(code))
    return new CoordinatorError("unavailable", `the disk under the spool ${path} is full`, { reason: "SPOOL_DISK_FULL", cause: thrown });
  if (deniedCodes.has(code))
    return unusable(path, `this process may not write there (${text}); give it the right, or choose another directory`, thrown);
  const refusal = `the disk under the spool ${path} refuses: ${text}`;
  if (!ioCodes.has(code)) return new CoordinatorError("unavailable", refusal, { reason: "SPOOL_DISK_FAILED", cause: thrown });
  const reason = isNearlyFull(path) ? "SPOOL_DISK_FULL" : "SPOOL_DISK_FAILED";
  return new CoordinatorError("unavailable", `${refusal}, which is also what a full disk or quota looks like`, { reason, cause: thrown });
}

/** Whether a transaction of the largest size, twice, would not fit. */
function isNearlyFull(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize < 2 * limits.spoolCommitMaxBytes;
  } catch {
    // Failure becomes the answer: this system does not say.
    return false;
  }
}

/** The path cannot hold a spool, whatever the load or the time. */
export function unusable(path: string, why: string, cause?: unknown): CoordinatorError {
  return new CoordinatorError("failed_precondition", `${path} cannot hold a spool: ${why}`, {
    reason: "SPOOL_UNUSABLE",
    fields: [{ field: "directory", reason: "UNUSABLE", description: why }],
    cause,
  });
}

/** A system error's name, or LMDB's number. */
export function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
}
