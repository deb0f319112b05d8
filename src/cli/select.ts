import type { Command } from "commander";
import { selectMcp } from "../client/decisions.js";
import { limits } from "../platform/limits.js";
import { askCoordinator, askDeadlineMs, collect, wholeNumber } from "./ask.js";
import { addEndpointFlags, type EndpointOptions } from "./endpoint.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

type SelectOptions = TalkOptions &
  EndpointOptions & {
    readonly type?: string;
    readonly bytes: string;
    readonly quality?: string;
    readonly privacy?: string;
    readonly format?: string;
    readonly tenant?: string;
    readonly capability?: readonly string[];
    readonly exclude?: readonly string[];
    readonly deadlineMs?: string;
    readonly idempotent?: boolean;
    readonly sheddable?: boolean;
    readonly explore: boolean;
    readonly keepCandidates?: boolean;
  };

/** `select`: one request, by hand. */
export function addSelectCommand(program: Command, context: CliContext): void {
  addTalkFlags(addEndpointFlags(program.command("select")))
    .description("ask which MCP should take a request; reserves a place there until the lease ends")
    .option("--type <name>", "routing class of the request")
    .option("--bytes <count>", "size of the request", "0")
    .option("--quality <level>", "quality level")
    .option("--privacy <level>", "privacy level")
    .option("--format <name>", "input format that the MCP must support")
    .option("--tenant <name>", "for whom")
    .option("--capability <name>", "capability that the MCP must have; may be given several times", collect)
    .option("--exclude <mcp>", "MCP that was tried already; may be given several times", collect)
    .option("--deadline-ms <ms>", "latency that still is of use")
    .option("--idempotent", "may be tried twice")
    .option("--sheddable", "may be refused first")
    .option("--no-explore", "do not try out an MCP with it")
    .option("--keep-candidates", "keep all candidates in the log")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator select --type ocr --bytes 5000", "prints the MCP, then the decision for explain"],
        ["mcp-coordinator select --type ocr --keep-candidates --json", "for scripts"],
      ]),
    )
    .action((options: SelectOptions) => select(context, options));
}

async function select(context: CliContext, options: SelectOptions): Promise<void> {
  const output = createOutput(context, options);
  const { deadlineMs } = options;
  const ask = {
    requestType: options.type ?? "",
    inputBytes: wholeNumber("--bytes", options.bytes, 0, Number.MAX_SAFE_INTEGER),
    qualityLevel: options.quality ?? "",
    privacyLevel: options.privacy ?? "",
    format: options.format ?? "",
    tenant: options.tenant ?? "",
    capabilities: options.capability ?? [],
    exclude: options.exclude ?? [],
    ...(deadlineMs === undefined ? {} : { deadlineMs: wholeNumber("--deadline-ms", deadlineMs, 1, limits.timerMaxMs) }),
    isIdempotent: options.idempotent === true,
    isSheddable: options.sheddable === true,
    noExplore: !options.explore,
    keepCandidates: options.keepCandidates === true,
  };
  const selected = await askCoordinator(context, options, (connection) => selectMcp(connection, ask, askDeadlineMs));
  if (output.isJson) {
    output.json(selected);
    return;
  }
  output.data(selected.mcpId);
  output.data(selected.decisionId);
  const { policyId, regime, propensity, drawableCount, candidateCount, leaseMs } = selected;
  output.talk(
    `${policyId}, ${regime}, probability ${propensity}, ${drawableCount} of ${candidateCount} could be drawn; the place is held for ${(leaseMs / 1_000).toFixed(1)} s`,
  );
}
