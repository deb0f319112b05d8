import type { Command } from "commander";
import { inspectSpool, type SpoolInspection } from "../client/spool/inspect-spool.js";
import type { Clock } from "../platform/clock.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

type SpoolCommandOptions = TalkOptions & { readonly setAside?: boolean };

/** `spool`: what a reporter has not delivered, and what was refused. Changes nothing, and may run while a reporter has the spool open. */
export function addSpoolCommand(program: Command, context: CliContext, clock: Pick<Clock, "nowMs">): void {
  addTalkFlags(program.command("spool"))
    .description("look into the spool of a reporter, also while it is open; changes nothing")
    .argument("<directory>", "the directory of the spool")
    .option("--set-aside", "list the events that were refused for good, one JSON object a line")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator spool ./interaction_cache.db", "how much waits, since when, and who has it open"],
        ["mcp-coordinator spool ./interaction_cache.db --set-aside", "refused events with their reasons, as NDJSON"],
      ]),
    )
    .action(async (directory: string, options: SpoolCommandOptions) => {
      const output = createOutput(context, options);
      const spool = inspectSpool(directory, clock);
      try {
        if (options.setAside === true) for (const line of spool.setAside()) output.json(line);
        else if (output.isJson) output.json({ ...spool.figures, holder: spool.figures.holder ?? null });
        else for (const line of linesOf(spool.figures)) output.data(line);
      } finally {
        await spool.close();
      }
    });
}

function linesOf(figures: SpoolInspection): readonly string[] {
  const { holder } = figures;
  return [
    `waiting     ${figures.events} events, ${figures.bytes} bytes, of which ${figures.progressEvents} progress`,
    `oldest      ${Math.round(figures.oldestMs / 1_000)} s`,
    `set aside   ${figures.setAside} events, ${figures.setAsideBytes} bytes`,
    `file        ${figures.fileBytes} bytes, format ${figures.format}, last place ${figures.lastPlace}`,
    `open in     ${holder === undefined ? "no process" : `process ${holder.pid} on ${holder.host}`}`,
  ];
}
