import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const mib = 1024 * 1024;
/** Room for an empty database and some thousand events. */
export const smallDiskMib = 96;

/** Whether this process may change the machine. */
export const isRoot = (): boolean => process.getuid?.() === 0;

/** Runs a program; false when it is not there or fails. */
export function attempt(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    // The caller takes it as "this machine does not allow it".
    return false;
  }
}

/** A tmpfs of `smallDiskMib` that Postgres may write; undefined where that is not allowed. */
export function mountSmallDisk(): { readonly dir: string; readonly unmount: () => void } | undefined {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-disk-"));
  const isMounted = isRoot() && attempt("mount", ["-t", "tmpfs", "-o", `size=${smallDiskMib}m,mode=0777`, "mcpc-faults", dir]);
  if (!isMounted) {
    rmdirSync(dir);
    return undefined;
  }
  attempt("chown", ["postgres", dir]) || attempt("chown", ["nobody", dir]);
  return {
    dir,
    unmount: () => {
      attempt("umount", [dir]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Writes until the disk is full. */
export function fill(file: string): void {
  const block = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeFileSync(file, block, { flag: "a" });
  } catch (thrown) {
    if (!(thrown instanceof Error) || !("code" in thrown) || thrown.code !== "ENOSPC") throw thrown;
  }
}

/** Puts a process into a memory cgroup, version 1 or 2; undefined where that is not allowed. */
export function boundMemory(pid: number, boundMib: number): { readonly remove: () => void } | undefined {
  const kinds = [
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes"],
    ["/sys/fs/cgroup", "memory.max"],
  ] as const;
  for (const [root, file] of kinds) {
    const dir = join(root, `mcpc-faults-${process.pid}`);
    try {
      mkdirSync(dir);
      writeFileSync(join(dir, file), String(boundMib * mib));
      writeFileSync(join(dir, "cgroup.procs"), String(pid));
      return { remove: () => void attempt("rmdir", [dir]) };
    } catch {
      // Not this kind, or not allowed: the next.
      attempt("rmdir", [dir]);
    }
  }
  return undefined;
}
