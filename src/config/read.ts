import { readFileSync } from "node:fs";
import os from "node:os";
import type { Rng } from "../platform/rng.js";
import type { Env, Flags } from "./layers.js";
import { type LoadedConfig, loadConfig } from "./load.js";
import type { Place } from "./place.js";

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
  const fault = { place: named.place, message: `cannot read ${named.path}: ${content.why}` };
  return { kind: "faulty", faults: [fault, ...(others.kind === "faulty" ? others.faults : [])], warnings: others.warnings };
}

function nameFile(input: ProcessInput): { readonly path: string; readonly place: Place } | undefined {
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

function readText(path: string): { readonly kind: "text"; readonly text: string } | { readonly kind: "unreadable"; readonly why: string } {
  try {
    return { kind: "text", text: readFileSync(path, "utf8") };
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
