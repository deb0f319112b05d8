import { expect, test } from "vitest";
import { createTestProgram } from "./test-program.js";

/** No recorded data: generators stand in, on any machine. */
const brief = ["--seeds", "1", "--scale", "0.05", "--data", "/no/such/directory", "--json"];

test("simulate list names every scenario that is simulated, its question and who takes part", async () => {
  const cli = createTestProgram();
  expect(await cli.run("simulate", "list", "--json")).toBe(0);
  const listed: readonly { readonly id: string; readonly question: string; readonly contenders: readonly string[] }[] = JSON.parse(
    cli.stdout.join(""),
  );
  // S13 and S14 are about streams that break and tables on their way: they run live (`make weights`).
  const simulated = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 18, 19, 20, 21].map((number) => `S${number}`);
  expect(listed.map(({ id }) => id)).toEqual(expect.arrayContaining(simulated));
  expect(listed.filter(({ question, contenders }) => question === "" || contenders.length === 0)).toEqual([]);
  const policies = listed.flatMap(({ contenders }) => contenders);
  for (let number = 0; number <= 13; number += 1) expect(policies).toContainEqual(expect.stringMatching(new RegExp(`^P${number}-`)));
});

test("simulate run judges the targets of a scenario, and the same seed gives the same figures", async () => {
  const runs = [createTestProgram(), createTestProgram()];
  for (const cli of runs)
    expect(await cli.run("simulate", "run", "--scenario", "sinkhole", "--policy", "P13-ours,P2-round-robin", ...brief)).toBe(0);
  const [first, second] = runs.map(({ stdout }) => stdout.join(""));
  expect(second).toBe(first);
  const told = JSON.parse(first ?? "");
  expect(new Set(told.rows.map((row: { readonly contender: string }) => row.contender))).toEqual(new Set(["P13-ours", "P2-round-robin"]));
  expect(told.claims.length).toBeGreaterThan(0);
});

test.each([
  [["--scenario", "nothing"], 3, 'there is no scenario "nothing"'],
  [["--scenario", "S4", "--policy", "P99-nobody"], 3, 'no policy "P99-nobody" takes part in S4'],
  [["--scenario", "S4", "--seeds", "0"], 2, "--seeds must be a whole number from 1 to 100"],
  [["--scenario", "S4", "--seeds", "1.5"], 2, "--seeds must be a whole number from 1 to 100"],
  [["--scenario", "S4", "--scale", "0.01"], 2, "--scale must be from 0.05 to 1"],
  [[], 2, "--scenario"],
])("simulate run %j ends with %i and names what is wrong", async (flags, code, words) => {
  const cli = createTestProgram();
  expect(await cli.run("simulate", "run", ...flags)).toBe(code);
  expect(cli.stderr.join("")).toContain(words);
  expect(cli.stdout).toEqual([]);
});
