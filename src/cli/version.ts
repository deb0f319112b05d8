import type { Command } from "commander";
import { coordinatorVersion } from "../config/version.js";
import { type CliContext, createOutput, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

/** Package of the wire contract that this version speaks. */
const contract = "mcp.coordinator.v1";

/** `version`: which coordinator, contract and runtime this is. */
export function addVersionCommand(program: Command, context: CliContext): void {
  addTalkFlags(program.command("version"))
    .description("say which version this is")
    .action((options: TalkOptions) => {
      const output = createOutput(context, options);
      const facts = { version: coordinatorVersion, contract, node: process.versions.node };
      if (output.isJson) output.json(facts);
      else output.data(`mcp-coordinator ${facts.version} (contract ${facts.contract}, Node ${facts.node})`);
    });
}
