import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Rooms that a room may import from, besides itself. docs/architecture.md shows the same. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  platform: [],
  config: ["platform"],
  interaction: ["platform"],
  wire: ["platform", "interaction", "gen", "smart-router/table"],
  store: ["platform", "config", "interaction"],
  privacy: ["platform", "config", "interaction"],
  auth: ["platform", "config", "interaction"],
  "smart-router": ["platform", "config", "interaction"],
  registry: ["platform", "config", "interaction", "store"],
  simulate: ["platform", "interaction", "smart-router"],
  ingest: ["platform", "config", "interaction", "wire", "store", "privacy", "auth"],
  hub: ["platform", "config", "interaction", "ingest", "wire", "auth", "registry", "store/store", "smart-router/table"],
  intake: ["platform", "config", "interaction", "ingest", "wire", "store", "auth", "registry"],
  rpc: [
    "platform",
    "config",
    "interaction",
    "wire",
    "store",
    "privacy",
    "auth",
    "registry",
    "smart-router",
    "ingest",
    "hub",
    "intake",
    "gen",
  ],
  client: ["platform", "interaction", "gen"],
  cli: ["platform", "config", "interaction", "client", "simulate", "smart-router", "store", "auth", "compose"],
  compose: ["*"],
  main: ["*"],
};

/** Exceptions, each with its reason. Shorter is better. */
const allowed: Readonly<Record<string, string>> = {};

type Import = { readonly file: string; readonly target: string };

function filesUnder(folder: string): readonly string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesUnder(path) : [path];
  });
}

const sources = filesUnder(join(root, "src")).filter((path) => path.endsWith(".ts"));

function importsOf(path: string): readonly Import[] {
  const text = readFileSync(path, "utf8");
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) => match[1] ?? "");
  return specifiers.map((specifier) => ({
    file: relative(root, path),
    target: relative(root, normalize(join(dirname(path), specifier))).replace(/\.js$/, ""),
  }));
}

/** `src/hub/session.ts` → `hub`; `src/main.ts` → `main`; `gen/…` → `gen`. */
function roomOf(path: string): string {
  if (path.startsWith("gen/")) return "gen";
  const [, first = "", second] = path.replace(/\.ts$/, "").split("/");
  return second === undefined ? first : first;
}

function isAllowed(edge: Import): boolean {
  const from = roomOf(edge.file);
  const to = roomOf(edge.target);
  if (from === to || `${edge.file} -> ${edge.target}` in allowed) return true;
  const permitted = mayImport[from] ?? [];
  return permitted.includes("*") || permitted.includes(to) || permitted.includes(edge.target.replace(/^src\//, ""));
}

describe("the house", () => {
  it("has only rooms that the plan knows", () => {
    expect([...new Set(sources.map((path) => roomOf(relative(root, path))))].filter((room) => !(room in mayImport))).toEqual([]);
  });

  it("imports downward only", () => {
    const wrong = sources.flatMap(importsOf).filter((edge) => !isAllowed(edge));
    expect(wrong.map((edge) => `${edge.file} -> ${edge.target}`)).toEqual([]);
  });

  it("imports files by their name and never a barrel", () => {
    expect(sources.filter((path) => path.endsWith("/index.ts") && !path.endsWith("src/client/index.ts"))).toEqual([]);
    const withoutSuffix = sources.flatMap((path) =>
      [...readFileSync(path, "utf8").matchAll(/from "(\.[^"]+)"/g)]
        .map((match) => match[1] ?? "")
        .filter((name) => !/\.(js|json)$/.test(name)),
    );
    expect(withoutSuffix).toEqual([]);
  });

  it("keeps files to one idea: 400 lines at most", () => {
    const long = sources
      .map((path) => [relative(root, path), readFileSync(path, "utf8").trimEnd().split("\n").length] as const)
      .filter(([, n]) => n > 400);
    expect(long).toEqual([]);
  });

  it("names nothing after a role it hides", () => {
    const names = sources.flatMap((path) =>
      [
        ...readFileSync(path, "utf8").matchAll(/^export (?:class|type|interface|const|function) (\w*(?:Manager|Helper|Utils?|Impl))\b/gm),
      ].map((match) => `${relative(root, path)}: ${match[1]}`),
    );
    expect(names).toEqual([]);
  });

  it("reads the environment and ends the process in main.ts only", () => {
    const offenders = sources
      .filter((path) => !path.endsWith("src/main.ts"))
      .filter((path) => /process\.(env|exit\()/.test(readFileSync(path, "utf8")))
      .map((path) => relative(root, path));
    expect(offenders).toEqual([]);
  });

  it("silences no check and casts to any nowhere", () => {
    const offenders = sources
      .filter((path) =>
        /@ts-(ignore|nocheck|expect-error)|biome-ignore|\bas any\b|[(,<]\s*(\w+: ?)?any[>,)]/.test(readFileSync(path, "utf8")),
      )
      .map((path) => relative(root, path));
    expect(offenders).toEqual([]);
  });

  it("keeps a SPEC beside every stateful room", () => {
    for (const room of ["hub", "ingest", "registry", "smart-router", "store"]) {
      expect(statSync(join(root, "src", room, "SPEC.md")).isFile()).toBe(true);
    }
  });
});
