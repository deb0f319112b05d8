import { execFileSync } from "node:child_process";
import { accessSync, chmodSync, chownSync, constants, mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { listen } from "./socket-relay.js";

/** The user that a server of a test runs as; empty: the one that runs the test. */
export type ServerUser = { readonly uid?: number; readonly gid?: number };

/** A server of a test is never root: then it is the user that a package made for it, or nobody. */
export function serverUser(packageUser: string): ServerUser {
  if (process.getuid?.() !== 0) return {};
  for (const name of [packageUser, "nobody"]) {
    try {
      const idOf = (flag: string): number => Number(execFileSync("id", [flag, name], { stdio: ["ignore", "pipe", "ignore"] }).toString());
      return { uid: idOf("-u"), gid: idOf("-g") };
    } catch {
      // No such user: the next.
    }
  }
  throw new Error(`running as root, and there is neither a user ${packageUser} nor nobody`);
}

/** A new folder that belongs to the user of a server. */
export function makeServerDir(prefix: string, { uid, gid }: ServerUser): string {
  const dir = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(dir, 0o755);
  if (uid !== undefined) chownSync(dir, uid, gid ?? 0);
  return dir;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  return port;
}

/** The first folder of PATH, or of `others`, that has all of these programs. */
export function findPrograms(programs: readonly string[], others: readonly string[]): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...others];
  return folders.find((folder) => programs.every((program) => isExecutable(join(folder, program))));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
