import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { behaviours } from "../../conformance/judge.js";
import { readScenario } from "../../conformance/scenario.js";

const page = readFileSync("docs/conformance.md", "utf8");

test("docs/conformance.md says of every behaviour what it takes, and of every step what happens", () => {
  const rows = page.split("\n").flatMap((line) => (line.startsWith("| `") ? [...(line.split("|")[1] ?? "").matchAll(/`([a-z_]+)`/g)] : []));
  const named = rows.map(([, name]) => name);
  expect(behaviours.filter((behaviour) => !named.includes(behaviour))).toEqual([]);
  const steps = new Set(readScenario("test/conformance/scenario.json").steps.map((step) => step.do));
  expect([...steps].filter((step) => !named.includes(step))).toEqual([]);
});
