import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

/** What a file needs before any of it runs, and what it asks for later. A list in braces that is all types still loads its file. */
const staticImport = /^(?:import|export)\s+(?!type\b)(?:[^;]*?from\s+)?"([^"]+)";/gm;
const dynamicImport = /import\("([^"]+)"\)/g;

/** Packages that are reached from a file. */
function packagesFrom(entry: string, patterns: readonly RegExp[]): readonly string[] {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    const text = readFileSync(file, "utf8");
    for (const [, name = ""] of patterns.flatMap((pattern) => [...text.matchAll(pattern)])) {
      if (name.startsWith(".")) waiting.push(normalize(join(dirname(file), name.replace(/\.js$/, ".ts"))));
      else if (!name.startsWith("node:")) packages.add(name.split("/", name.startsWith("@") ? 2 : 1).join("/"));
    }
  }
  return [...packages].sort();
}

test("importing the reporter loads three packages; a transport and the spool bring theirs when they are opened", () => {
  expect(packagesFrom("src/client/index.ts", [staticImport])).toEqual(["@bufbuild/protobuf", "smol-toml", "uuid"]);
  expect(packagesFrom("src/client/index.ts", [staticImport, dynamicImport])).toEqual([
    ...["@bufbuild/protobuf", "@grpc/grpc-js", "ioredis", "lmdb", "postgres", "smol-toml", "uuid", "zod"],
  ]);
});
