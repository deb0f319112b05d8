import type { Command } from "commander";
import { getRoutingConfig, type McpSettings, type RoutingConfigView, setRoutingConfig } from "../client/routing-config.js";
import { limits } from "../platform/limits.js";
import { askCoordinator, askDeadlineMs, collect, table, wholeNumber } from "./ask.js";
import { addEndpointFlags, type EndpointOptions } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

type GetOptions = TalkOptions & EndpointOptions & { readonly changes: string };

type SetOptions = TalkOptions &
  EndpointOptions & {
    readonly mcp?: string;
    readonly priority?: string;
    readonly weight?: string;
    readonly maxConcurrent?: string;
    readonly cost?: string;
    readonly drain?: boolean;
    readonly reset?: readonly string[];
    readonly policy?: string;
    readonly shadow?: readonly string[];
    readonly shadows: boolean;
    readonly ifVersion?: string;
    readonly reason?: string;
  };

/** `routing-config get` and `routing-config set`. */
export function addRoutingConfigCommand(program: Command, context: CliContext): void {
  const command = program.command("routing-config").helpCommand(false).description("show and change how requests are routed, at run time");
  addTalkFlags(addEndpointFlags(command.command("get")))
    .description("show the policy in force, what operators set for MCPs, how shadows agree, and the latest changes")
    .option("--changes <count>", "how many of the latest changes", "5")
    .addHelpText("before", examples([["mcp-coordinator routing-config get --changes 20", "what is in force, and who changed it"]]))
    .action((options: GetOptions) => get(context, options));
  addTalkFlags(addEndpointFlags(command.command("set")))
    .description("change how requests are routed: stored, audited, and in force on every coordinator within about a second")
    .option("--mcp <id>", "the MCP that --priority, --weight, --max-concurrent, --cost, --drain and --no-drain are about")
    .option("--priority <tier>", `tier of the MCP, 0 to ${limits.routingPriorityMax}; 0 is served first`)
    .option("--weight <weight>", `0 to ${limits.routingWeightMax}; 100 is neutral, 0 takes it out`)
    .option("--max-concurrent <count>", `requests that it may have at once, 1 to ${limits.routingConcurrentMax}`)
    .option("--cost <amount>", "what one request to it costs, in a unit of your own that is the same for all MCPs")
    .option("--drain", "give it nothing new")
    .option("--no-drain", "give it requests again")
    .option("--reset <mcp>", "take back everything that was set for this MCP; may be given several times", collect)
    .option("--policy <id>", "put this policy in force")
    .option(
      "--shadow <id>",
      "let this policy choose too, without effect, to compare it; replaces the shadows in force; may be given several times",
      collect,
    )
    .option("--no-shadows", "end all shadows")
    .option("--if-version <version>", "only if this version is in force")
    .option("--reason <text>", "why, for the audit")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator routing-config set --mcp ocr_001 --drain --reason 'new model'", "nothing new for one MCP"],
        ["mcp-coordinator routing-config set --mcp ocr_001 --cost 0.25", "a request to it costs a quarter: the dearer of two equals loses"],
        ["mcp-coordinator routing-config set --shadow least-requests/1", "see what another policy would do"],
      ]),
    )
    .action((options: SetOptions) => set(context, options));
}

async function get(context: CliContext, options: GetOptions): Promise<void> {
  const output = createOutput(context, options);
  const maxChanges = wholeNumber("--changes", options.changes, 0, limits.pageMaxCount);
  const report = await askCoordinator(context, options, (connection) => getRoutingConfig(connection, maxChanges, askDeadlineMs));
  if (output.isJson) {
    output.json(report);
    return;
  }
  printConfig(output, report.config);
  output.data(`available  ${report.knownPolicyIds.join(", ")}`);
  for (const { policyId, decisions, agreed } of report.shadows) {
    const share = decisions === 0 ? "-" : `${((100 * agreed) / decisions).toFixed(1)}%`;
    output.data(`agreement  ${policyId} ${share} of ${decisions} decisions`);
  }
  for (const change of report.changes) {
    const by = change.changedBy === "" ? "" : ` by ${change.changedBy}`;
    output.data(
      `change     ${change.version}  ${new Date(change.changedAtMs).toISOString()}${by} at ${change.coordinatorId}  ${change.reason}`,
    );
    for (const { setting, oldValue, newValue } of change.settings) {
      output.data(`           ${setting}: ${oldValue === "" ? "-" : oldValue} → ${newValue === "" ? "-" : newValue}`);
    }
  }
}

async function set(context: CliContext, options: SetOptions): Promise<void> {
  const output = createOutput(context, options);
  const mcp = mcpOf(options);
  if (mcp === undefined && options.reset === undefined && options.policy === undefined && options.shadow === undefined && options.shadows)
    throw new CliFailure("usage", "nothing to change: give --mcp with what to change of it, --reset, --policy, --shadow or --no-shadows");
  const change = {
    mcps: mcp === undefined ? [] : [mcp],
    reset: options.reset ?? [],
    policyId: options.policy,
    shadowPolicyIds: options.shadows ? options.shadow : [],
    ifVersion: options.ifVersion === undefined ? undefined : wholeNumber("--if-version", options.ifVersion, 1, Number.MAX_SAFE_INTEGER),
    reason: options.reason ?? "",
  };
  const config = await askCoordinator(context, options, (connection) => setRoutingConfig(connection, change, askDeadlineMs));
  if (output.isJson) output.json(config);
  else printConfig(output, config);
}

function mcpOf({ mcp, priority, weight, maxConcurrent, cost, drain }: SetOptions): McpSettings | undefined {
  const isNothing = [priority, weight, maxConcurrent, cost, drain].every((value) => value === undefined);
  if (mcp === undefined) {
    if (isNothing) return undefined;
    throw new CliFailure("usage", "--priority, --weight, --max-concurrent, --cost and --drain need --mcp <id>");
  }
  if (isNothing) throw new CliFailure("usage", "--mcp needs --priority, --weight, --max-concurrent, --cost, --drain or --no-drain");
  // Bounds are the coordinator's to judge; here only what is no number is refused.
  const numberOf = (flag: string, text: string | undefined) =>
    text === undefined ? undefined : wholeNumber(flag, text, -1_000_000, 1_000_000);
  return {
    mcpId: mcp,
    priority: numberOf("--priority", priority),
    weight: numberOf("--weight", weight),
    maxConcurrent: numberOf("--max-concurrent", maxConcurrent),
    costPerRequest: cost === undefined ? undefined : amountOf("--cost", cost),
    drain,
  };
}

function amountOf(flag: string, text: string): number {
  const value = Number(text);
  if (/^-?\d+(\.\d+)?$/.test(text) && Number.isFinite(value)) return value;
  throw new CliFailure("usage", `${flag} must be a number such as 0.25, not "${text}"`);
}

function printConfig(output: Output, config: RoutingConfigView): void {
  const by = config.changedBy === "" ? "" : ` by ${config.changedBy}`;
  const at = config.changedAtMs === undefined ? "never changed" : `changed ${new Date(config.changedAtMs).toISOString()}${by}`;
  output.data(`version    ${config.version}, ${at}`);
  output.data(`policy     ${config.policyId}`);
  if (config.shadowPolicyIds.length > 0) output.data(`shadows    ${config.shadowPolicyIds.join(", ")}`);
  if (config.mcps.length === 0) return;
  const shown = (value: number | boolean | undefined) => (value === undefined ? "-" : String(value));
  const rows = config.mcps.map(({ mcpId, priority, weight, maxConcurrent, costPerRequest, drain }) => [
    mcpId,
    ...[priority, weight, maxConcurrent, costPerRequest, drain].map(shown),
  ]);
  for (const line of table([["mcp", "priority", "weight", "max concurrent", "cost", "drain"], ...rows])) output.data(line);
}
