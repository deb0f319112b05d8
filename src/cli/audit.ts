import type { Command } from "commander";
import { auditDecision } from "../client/decisions.js";
import { askCoordinator, askDeadlineMs } from "./ask.js";
import { addEndpointFlags, type EndpointOptions } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples, remarks } from "./help.js";
import { type CliContext, createOutput, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

type AuditOptions = TalkOptions & EndpointOptions & { readonly quality: string; readonly auditor: string };

/** `audit`: how good an answer was, said by somebody who did not give it. */
export function addAuditCommand(program: Command, context: CliContext): void {
  addTalkFlags(addEndpointFlags(program.command("audit")))
    .argument("<decision_id>", "as SelectMcp gave it")
    .description("say how good the answer to a request was; outranks what the MCP says of itself, and needs a key for all MCPs")
    .requiredOption("--quality <number>", "how good, from 0 to 1")
    .option("--auditor <name>", "who or what judged; kept with the decision", "")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator audit 019b7a10-0000-7000-8000-000000000000 --quality 0.8", "at the coordinator that decided"],
        ["mcp-coordinator audit 019b7a10-0000-7000-8000-000000000000 --quality 0.8 --auditor golden-set/3 --json", "for scripts"],
      ]),
    )
    .addHelpText(
      "after",
      remarks(
        "The first audit of a decision counts; the same again changes nothing. Exit 1: another quality counts already. 3: no such decision at this coordinator, or no longer. 4: the key is bound to one MCP.",
      ),
    )
    .action((decisionId: string, options: AuditOptions) => audit(context, decisionId, options));
}

async function audit(context: CliContext, decisionId: string, options: AuditOptions): Promise<void> {
  const output = createOutput(context, options);
  const { auditor } = options;
  const quality = shareOf("--quality", options.quality);
  const told = await askCoordinator(context, options, (connection) =>
    auditDecision(connection, { decisionId, quality, auditor }, askDeadlineMs),
  );
  if (output.isJson) output.json(told);
  else output.data(`${told.mcpId}: ${told.counted ? "counted" : "counted before"}`);
}

/** A number from 0 to 1 in a flag.     Errors: CliFailure `usage`. */
function shareOf(flag: string, text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= 0 && value <= 1) return value;
  throw new CliFailure("usage", `${flag} must be a number from 0 to 1, not "${text}"`);
}
