import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { configKeys } from "../../../src/client/read-config.js";
import { reporterDefaults } from "../../../src/client/reporter-options.js";

const page = readFileSync("docs/reporter.md", "utf8");
const rows = page
  .slice(page.indexOf("## Options"), page.indexOf("## Which transport"))
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map((line) => line.split("|").map((cell) => cell.trim().replaceAll("`", "")));
const options = new Map(
  rows.flatMap(([, names = "", key = "", fallback = ""]) => names.split(", ").map((name) => [name, { key, fallback }] as const)),
);

test("docs/reporter.md names every option of ReporterOptions, and no other", () => {
  const source = readFileSync("src/client/reporter-options.ts", "utf8");
  const type = source.slice(source.indexOf("export type ReporterOptions"), source.indexOf("/** Defaults."));
  const own = [...type.matchAll(/^ {2}readonly (\w+)\??:/gm)].map((match) => match[1] ?? "");
  const passed = [...(/Pick<StreamSessionOptions, ([^>]*)>/.exec(type)?.[1] ?? "").matchAll(/"(\w+)"/g)].map((match) => match[1] ?? "");
  expect(own).toContain("coordinatorUrl");
  expect([...options.keys()].sort()).toEqual([...own, ...passed].filter((name) => name !== "remarks").sort());
});

test("docs/reporter.md gives the defaults that the code has", () => {
  const told = Object.keys(reporterDefaults).map((name) => [name, options.get(name)?.fallback.split(";", 1)[0]]);
  expect(told).toEqual(Object.entries(reporterDefaults).map(([name, value]) => [name, JSON.stringify(value)]));
});

test("docs/reporter.md gives the keys of mcp_config.toml", () => {
  const told = [...options].filter(([, { key }]) => key !== "").map(([name, { key }]) => `${key} ${name}`);
  expect(told.sort()).toEqual(configKeys.map(({ key, option }) => `${key} ${option}`).sort());
});
