import type { Command } from "commander";
import { type RunResult, report, run, type ScenarioReport } from "../simulate/evaluation.js";
import type { Scenario } from "../simulate/scenario.js";
import { scenariosWith } from "../simulate/scenarios.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";
import { materialFrom } from "./simulation-material.js";

type SimulateOptions = TalkOptions & {
  readonly scenario?: string;
  readonly policy?: string;
  readonly seeds: string;
  readonly scale: string;
  readonly data: string;
};

const seedsMax = 100;
/** Where recorded traces are, seen from the root of the project. */
const dataDefault = "../shared/data";

/** `simulate`: routing policies against each other on simulated fleets. `simulate list` says which there are. */
export function addSimulateCommand(program: Command, context: CliContext): void {
  const simulate = program
    .command("simulate")
    .helpCommand(false)
    .description("try routing policies on simulated fleets; nothing is sent anywhere");
  addTalkFlags(simulate.command("list"))
    .description("say which scenarios and policies there are")
    .addHelpText("before", examples([["mcp-coordinator simulate list", "scenarios, their questions and who takes part"]]))
    .action((options: TalkOptions) => {
      const output = createOutput(context, options);
      const listed = scenariosWith(materialFrom(dataDefault, 1)).map(({ id, name, question, contenders, cells }) => ({
        id,
        name,
        question,
        contenders,
        cells: cells.map((cell) => cell.name),
      }));
      if (output.isJson) output.json(listed);
      else for (const one of listed) output.data(`${one.id.padEnd(4)} ${one.name}: ${one.question}\n     ${one.contenders.join(", ")}`);
    });
  addTalkFlags(simulate.command("run"))
    .description("run a scenario and judge its targets")
    .requiredOption("--scenario <name>", "name or number of the scenario, or all")
    .option("--policy <ids>", "only these policies, separated by commas; all of the scenario when left out")
    .option("--seeds <count>", `seeds 1 to count, at most ${seedsMax}: equal seeds mean equal requests for every policy`, "3")
    .option("--scale <factor>", "multiplies lengths of runs where that costs precision only, 0.05 to 1", "1")
    .option(
      "--data <directory>",
      "where recorded traces are; generators with the same statistics stand in for those that are missing",
      dataDefault,
    )
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator simulate run --scenario slow-server", "one scenario, all of its policies, three seeds"],
        ["mcp-coordinator simulate run --scenario S4 --policy P13-ours,P9-prequal --seeds 10 --json", "two policies, for scripts"],
      ]),
    )
    .action((options: SimulateOptions) => simulateAll(options, createOutput(context, options)));
}

function simulateAll(options: SimulateOptions, output: Output): void {
  const seeds = seedsOf(options.seeds);
  const material = materialFrom(options.data, scaleOf(options.scale));
  for (const scenario of chosen(options, scenariosWith(material))) {
    const runs: RunResult[] = [];
    for (const cell of scenario.cells) {
      for (const contender of scenario.contenders) {
        for (const seed of seeds) runs.push(run({ scenario: scenario.id, cell: cell.name, contender, seed }, [scenario], material));
        output.talk(`${scenario.id} ${cell.name}: ${contender} done`);
      }
    }
    const told = report(scenario, runs);
    if (output.isJson) output.json(told);
    else tell(told, scenario, output);
  }
}

function tell(told: ScenarioReport, scenario: Scenario, output: Output): void {
  output.data(`${scenario.id} ${scenario.name}: ${scenario.question}`);
  for (const row of told.rows) {
    const figures = scenario.columns.map(({ figure, heading, digits }) => {
      const summary = row.figures[figure]?.estimate;
      if (summary === undefined || Number.isNaN(summary.mean)) return `${heading} –`;
      const interval = Number.isNaN(summary.halfWidth) ? "" : ` ± ${summary.halfWidth.toFixed(digits)}`;
      return `${heading} ${summary.mean.toFixed(digits)}${interval}`;
    });
    output.data(`  ${row.cell}  ${row.contender.padEnd(22)} ${figures.join(", ")}`);
  }
  for (const claim of told.claims) {
    const verdict = claim.isMet ? output.paint("green", "met") : output.paint("red", "MISSED");
    output.data(`  ${verdict}: ${claim.text} (${claim.measured})`);
  }
}

/** The scenarios asked for, with only the policies asked for. */
function chosen({ scenario: wanted, policy }: SimulateOptions, scenarios: readonly Scenario[]): readonly Scenario[] {
  const found = scenarios.filter((scenario) => wanted === "all" || scenario.name === wanted || scenario.id === wanted);
  if (found.length === 0)
    throw new CliFailure("not_found", `there is no scenario "${wanted ?? ""}"; "mcp-coordinator simulate list" names all`);
  if (policy === undefined) return found;
  const ids = policy.split(",").map((id) => id.trim());
  for (const id of ids) {
    if (!found.some((scenario) => scenario.contenders.includes(id)))
      throw new CliFailure("not_found", `no policy "${id}" takes part in ${wanted}; "mcp-coordinator simulate list" names all`);
  }
  return found.map((scenario) => ({ ...scenario, contenders: scenario.contenders.filter((id) => ids.includes(id)) }));
}

function seedsOf(text: string): readonly number[] {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > seedsMax)
    throw new CliFailure("usage", `--seeds must be a whole number from 1 to ${seedsMax}, is "${text}"`);
  return Array.from({ length: count }, (_, index) => index + 1);
}

function scaleOf(text: string): number {
  const scale = Number(text);
  if (!(scale >= 0.05 && scale <= 1)) throw new CliFailure("usage", `--scale must be from 0.05 to 1, is "${text}"`);
  return scale;
}
