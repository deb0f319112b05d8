import { closeSync, openSync, readSync } from "node:fs";
import os from "node:os";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";
import type { Env, Flags } from "./layers.js";
import { type LoadedConfig, loadConfig } from "./load.js";
import type { Place } from "./place.js";
import { longFault } from "./toml-file.js";

/** What decides the configuration of a process besides the file. `configFlag` is the value of `--config`. */
export type ProcessInput = { readonly env: Env; readonly flags: Flags; readonly configFlag: string | undefined; readonly rng: Rng };

/** Loads the configuration with the file that `--config`, or else CONFIG_PATH, names. A file that cannot be read is a fault like any other. */
export function readConfig(input: ProcessInput): LoadedConfig {
  const deps = {
    readSecretFile: (path: string): string | undefined => {
      const content = readText(path);
      return content.kind === "text" ? content.text : undefined;
    },
    defaultCoordinatorId: nameProcess(input.rng),
  };
  const named = nameFile(input);
  if (named === undefined) return loadConfig(deps, input);
  const content = readText(named.path);
  if (content.kind === "text") return loadConfig(deps, { ...input, fileText: content.text, filePath: named.path });
  const others = loadConfig(deps, input);
  const { faults, faultCount } = others.kind === "faulty" ? others : { faults: [], faultCount: 0 };
  const fault =
    content.kind === "long" ? longFault(named.path) : { place: named.place, message: `cannot read ${named.path}: ${content.why}` };
  return { kind: "faulty", faults: [fault, ...faults], faultCount: faultCount + 1, warnings: others.warnings };
}

/** The file that `--config`, or else CONFIG_PATH, names, and where it is named; undefined without either. */
export function nameFile(input: Pick<ProcessInput, "env" | "configFlag">): { readonly path: string; readonly place: Place } | undefined {
  if (input.configFlag !== undefined) return { path: input.configFlag, place: { kind: "flag", name: "--config" } };
  const path = input.env.CONFIG_PATH ?? "";
  return path === "" ? undefined : { path, place: { kind: "env", name: "CONFIG_PATH" } };
}

/** Host name, process id and six random hex digits. What a header cannot hold of the host name becomes "_". */
function nameProcess(rng: Rng): string {
  const random = Math.floor(rng() * 0x1000000)
    .toString(16)
    .padStart(6, "0");
  return `${os
    .hostname()
    .slice(0, 200)
    .replaceAll(/[^ -~]/g, "_")}-${process.pid}-${random}`;
}

type Content =
  | { readonly kind: "text"; readonly text: string }
  /** Longer than `limits.configFileMaxBytes`. */
  | { readonly kind: "long" }
  | { readonly kind: "unreadable"; readonly why: string };

function readText(path: string): Content {
  try {
    return readWhole(path);
  } catch (thrown) {
    // Translated: the caller makes a fault of it.
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: "there is no such file",
      EACCES: "this user may not read it",
      EISDIR: "it is a directory",
    };
    return { kind: "unreadable", why: reasons[code] ?? code };
  }
}

/** Reads no more than is taken, whatever the path names: it may be a pipe, or a device without an end. */
function readWhole(path: string): Content {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(limits.configFileMaxBytes + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(file, bytes, length, bytes.length - length, null);
    return length === bytes.length ? { kind: "long" } : { kind: "text", text: bytes.toString("utf8", 0, length) };
  } finally {
    closeSync(file);
  }
}
