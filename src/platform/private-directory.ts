import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a directory, and those above it that are missing, for this user only; one that is there stays as it is. Synchronous.
 * The recursive mkdir of Node never returns where a parent exists and cannot hold children, as below /proc, a dangling link, or a directory that was deleted under a running process.
 * Errors: those of mkdir(2); EEXIST when there is something else in its place.     Source: openclaw/openclaw issue 130807.
 */
export function makePrivateDirectory(directory: string): void {
  const missing = [resolve(directory)];
  for (let above = dirname(missing[0] ?? ""); !isThere(above); above = dirname(above)) missing.unshift(above);
  for (const one of missing) makeOne(one);
}

/** The root always is. */
function isThere(path: string): boolean {
  return path === dirname(path) || statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function makeOne(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (thrown) {
    // It was there before, or another process was quicker.
    const exists = thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST";
    if (!exists || statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) throw thrown;
  }
}
