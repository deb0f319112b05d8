import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { CoordinatorError } from "../../platform/errors.js";
import { makePrivateDirectory } from "../../platform/private-directory.js";
import { codeOf, unusable } from "./disk-fault.js";

/** The version of all that is in the directory. It grows when an older reporter could no longer read it. SPEC.md, "Format". */
export const spoolFormat = 1;

const fileName = "format";
const lineShape = /^mcp-coordinator spool (\d{1,9})\s/;

/** Makes the directory if it is not there. Errors: `failed_precondition` SPOOL_UNUSABLE for a file in its place. */
export function makeDirectory(directory: string): void {
  try {
    makePrivateDirectory(directory);
  } catch (thrown) {
    const code = codeOf(thrown);
    if (code === "EEXIST" || code === "ENOTDIR") throw unusable(directory, "there is a file in its place; choose another path", thrown);
    throw thrown;
  }
}

/**
 * Reads the version before anything else is opened. False: an empty directory.
 * Errors: `failed_precondition`, SPOOL_NEWER for a newer one, SPOOL_UNUSABLE for a directory that holds something else.
 */
export function checkFormat(directory: string): boolean {
  const found = readFormat(directory);
  // Nothing but what an opening leaves behind that was killed before it named the format.
  if (found === undefined) {
    const stranger =
      existsSync(directory) && readdirSync(directory).find((name) => !name.startsWith("lock") && !name.startsWith(`${fileName}.`));
    if (stranger) throw unusable(directory, `it holds something else (${stranger}); choose an empty directory`);
    return false;
  }
  if (found > spoolFormat) {
    const text = `the spool ${directory} has format ${found} and this version reads format ${spoolFormat}: update the reporter, or choose another directory`;
    const metadata = { found: String(found), supported: String(spoolFormat) };
    throw new CoordinatorError("failed_precondition", text, { reason: "SPOOL_NEWER", metadata });
  }
  return true;
}

/** Names the version, durably, before there is anything to have one. */
export function writeFormat(directory: string): void {
  const path = join(directory, fileName);
  const file = openSync(`${path}.new`, "w", 0o600);
  try {
    writeSync(file, `mcp-coordinator spool ${spoolFormat}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  syncDirectory(directory);
}

/** What was renamed or made in a directory survives a power cut after this. */
export function syncDirectory(directory: string): void {
  // Windows gives no handle on a directory, and writes its entries through.
  if (process.platform === "win32") return;
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function readFormat(directory: string): number | undefined {
  let text: string;
  try {
    if (existsSync(directory) && !statSync(directory).isDirectory()) throw unusable(directory, "it is a file; choose another path");
    text = readFileSync(join(directory, fileName), "utf8");
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
  const match = lineShape.exec(text);
  if (match === null) throw unusable(directory, `its file "${fileName}" is not one of a spool; choose an empty directory`);
  return Number(match[1]);
}
