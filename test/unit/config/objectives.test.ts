import { expect, test } from "vitest";
import { type ConfigInput, loadConfig } from "../../../src/config/load.js";
import { describeRemark } from "../../../src/config/place.js";

const load = (input: Partial<ConfigInput>) =>
  loadConfig({ readSecretFile: () => undefined, defaultCoordinatorId: "c" }, { filePath: "c.toml", env: {}, flags: {}, ...input });

function faults(input: Partial<ConfigInput>): readonly string[] {
  const result = load(input);
  return result.kind === "faulty" ? result.faults.map(describeRemark) : [];
}

test("without a table no request type has an objective", () => {
  expect(load({})).toMatchObject({ kind: "loaded", config: { routing: { objectives: {} } } });
});

test.each([
  ["a table of its own", '[routing.objectives]\nocr = 800\n"report.monthly" = 600_000\n'],
  ["an inline table", '[routing]\nobjectives = { ocr = 800, "report.monthly" = 600000 }'],
  ["keys with dots", 'routing.objectives.ocr = 800\nrouting.objectives."report.monthly" = 600000'],
])("objectives are read from %s", (_, fileText) => {
  expect(load({ fileText })).toMatchObject({
    kind: "loaded",
    config: { routing: { objectives: { ocr: 800, "report.monthly": 600_000 }, maxConcurrentDefault: 10 } },
    sources: { "routing.objectives": { kind: "file", file: "c.toml", key: "routing.objectives" } },
  });
});

test("a name that objects have by themselves is a request type like any other", () => {
  const result = load({ fileText: "[routing.objectives]\ntoString = 6\n" });
  expect(result.kind === "loaded" && Object.entries(result.config.routing.objectives)).toEqual([["toString", 6]]);
});

const range = "must be a whole number from 1 to 600000";

test.each([
  ["ocr = 0", `c.toml:2 routing.objectives.ocr: ${range}, is 0`],
  ["ocr = -5", `c.toml:2 routing.objectives.ocr: ${range}, is -5`],
  ["ocr = 600_001", `c.toml:2 routing.objectives.ocr: ${range}, is 600001`],
  ["ocr = 1.5", `c.toml:2 routing.objectives.ocr: ${range}, is 1.5`],
  ["ocr = nan", `c.toml:2 routing.objectives.ocr: ${range}, is NaN`],
  ['ocr = "800ms"', `c.toml:2 routing.objectives.ocr: ${range}, is "800ms"`],
  ["report.monthly = 800", `c.toml:1 routing.objectives.report: ${range}, is a table`],
  ['"" = 800', "c.toml:2 routing.objectives.: the name of a request type must have 1 to 256 bytes, is 800"],
  [
    `"${"é".repeat(129)}" = 800`,
    `c.toml:2 routing.objectives.${"é".repeat(106)}...: the name of a request type must have 1 to 256 bytes, is 800`,
  ],
])("%j is refused at its line", (line, fault) => {
  expect(faults({ fileText: `[routing.objectives]\n${line}\n` })).toEqual([fault]);
});

test("each bad entry is reported, and a good one beside them is not", () => {
  expect(faults({ fileText: "[routing.objectives]\nocr = 0\nsearch = 300\nsummary = true\n" })).toEqual([
    `c.toml:2 routing.objectives.ocr: ${range}, is 0`,
    `c.toml:4 routing.objectives.summary: ${range}, is true`,
  ]);
});

test("256 request types may have an objective, one more may not", () => {
  const tableOf = (count: number) => `[routing.objectives]\n${Array.from({ length: count }, (_, at) => `type${at} = 100`).join("\n")}`;
  expect(faults({ fileText: tableOf(256) })).toEqual([]);
  expect(faults({ fileText: tableOf(257) })).toEqual(["c.toml:1 routing.objectives: must have at most 256 entries, has 257"]);
});

test("anything but a table is told how to write one", () => {
  expect(faults({ fileText: "[routing]\nobjectives = 800\n" })).toEqual([
    "c.toml:2 routing.objectives: must be a table: write [routing.objectives]",
  ]);
});

test("a misspelt table is a fault that names it", () => {
  expect(faults({ fileText: "[routing.objektives]\nocr = 1\n" })).toEqual([
    "c.toml:1 routing.objektives: no such setting; did you mean objectives?",
  ]);
});

test("the environment cannot hold them", () => {
  expect(faults({ env: { MCPC_ROUTING__OBJECTIVES: "ocr=800" } })).toEqual([
    expect.stringMatching(/^environment MCPC_ROUTING__OBJECTIVES: no such setting/),
  ]);
});
