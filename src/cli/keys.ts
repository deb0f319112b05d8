import type { Command } from "commander";
import { createKey } from "../auth/new-key.js";
import { idOfHash, readKeys } from "../config/keys.js";
import { describeRemark } from "../config/place.js";
import { readToml } from "../config/toml-file.js";
import { assert } from "../platform/assert.js";
import type { Clock } from "../platform/clock.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

type GenerateOptions = TalkOptions & { readonly mcpId: string; readonly id?: string; readonly expiresInDays?: string };

const dayMs = 24 * 60 * 60 * 1_000;

/** Longest life that can be asked for: a key that is meant to outlive it is given no expiry. */
const lifeMaxDays = 3_650;

/** `keys generate`: a new key. The key goes to stderr and the lines for the file to stdout, so that appending them keeps the key out of the file. */
export function addKeysCommand(program: Command, context: CliContext, clock: Pick<Clock, "nowMs">): void {
  const keys = program.command("keys").helpCommand(false).description("make API keys");
  addTalkFlags(keys.command("generate"))
    .description("make a key: shown once on stderr, its lines for the configuration on stdout; with --json both on stdout")
    .requiredOption("--mcp-id <id>", 'the MCP that the key may act for; "*" for any')
    .option("--id <name>", "public name of the key; made from its hash when left out")
    .option("--expires-in-days <days>", `days until the key expires, 1 to ${lifeMaxDays}; never when left out`)
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator keys generate --mcp-id ocr_workflow_mcp_001 >> coordinator.toml", "shows the key once, appends its hash"],
        ['mcp-coordinator keys generate --mcp-id "*" --id gateway --expires-in-days 90 --json', "for scripts"],
      ]),
    )
    .action((options: GenerateOptions) => {
      const output = createOutput(context, options);
      const made = createKey();
      const id = options.id ?? idOfHash(made.sha256);
      const expiresAt = expiryOf(options.expiresInDays, clock.nowMs());
      const toml = keyLines(id, options.mcpId, made.sha256, expiresAt);
      if (output.isJson) {
        output.json({ id, mcpId: options.mcpId, key: made.key, sha256: made.sha256, expiresAt, toml });
        return;
      }
      output.talk(`The key, shown this once: ${made.key}`);
      output.talk("Give it to the MCP, and put these lines into the coordinator's configuration:");
      output.data(toml);
    });
}

/** Lines that our own reader takes; what it refuses was asked for wrongly. */
function keyLines(id: string, mcpId: string, sha256: string, expiresAt: string | undefined): string {
  const lines = ["[[auth.keys]]", `id = ${JSON.stringify(id)}`, `mcp_id = ${JSON.stringify(mcpId)}`, `sha256 = "${sha256}"`];
  const toml = [...lines, ...(expiresAt === undefined ? [] : [`expires_at = ${expiresAt}`])].join("\n");
  const read = readKeys(readToml(toml, "the new key"));
  if (read.faults.count > 0) throw new CliFailure("usage", read.faults.kept.map(describeRemark).join("\n"));
  assert(read.keys[0]?.key.sha256 === sha256, "the lines of a key are read back as that key");
  return toml;
}

function expiryOf(days: string | undefined, nowMs: number): string | undefined {
  if (days === undefined) return undefined;
  const count = Number(days);
  if (!Number.isInteger(count) || count < 1 || count > lifeMaxDays) {
    throw new CliFailure("usage", `--expires-in-days must be a whole number from 1 to ${lifeMaxDays}, is "${days}"`);
  }
  return new Date(nowMs + count * dayMs).toISOString();
}
