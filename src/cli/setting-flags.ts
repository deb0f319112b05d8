import { type Command, Option } from "commander";
import type { Flags } from "../config/layers.js";
import type { LoadedConfig } from "../config/load.js";
import { describeRemark } from "../config/place.js";
import { readConfig } from "../config/read.js";
import { describeRest } from "../config/remarks.js";
import type { Config } from "../config/schema.js";
import { type Setting, settings } from "../config/settings.js";
import { systemRng } from "../platform/rng.js";
import { CliFailure } from "./exit-code.js";
import type { CliContext, Output, TalkOptions } from "./output.js";

/** What commander makes of the options of a command: by camelCase name. */
export type ParsedOptions = TalkOptions & Readonly<Record<string, string | boolean | undefined>>;

/** Adds `--config` and a flag for each setting that has one. */
export function addSettingFlags(command: Command): Command {
  command.addOption(new Option("-c, --config <file>", "TOML file with settings; also CONFIG_PATH"));
  for (const setting of settings) {
    if (setting.flag === undefined) continue;
    const value = setting.kind === "boolean" ? "" : ` <${setting.flag.slice(setting.flag.lastIndexOf("-") + 1)}>`;
    command.addOption(new Option(`${setting.flag}${value}`, describeFlag(setting)));
  }
  return command;
}

/** Adds `--json` and `--no-color`. */
export function addTalkFlags(command: Command): Command {
  return command.option("--json", "answer in JSON on stdout").option("--no-color", "no colours; also NO_COLOR");
}

/** The configuration that the options, the environment and the file make together. */
export function loadFor(context: CliContext, options: ParsedOptions): LoadedConfig {
  const configFlag = typeof options.config === "string" ? options.config : undefined;
  return readConfig({ env: context.env, flags: pickFlags(options), configFlag, rng: systemRng });
}

/** The same, when the command cannot go on without it: warnings go to stderr, and faults end the command. */
export function requireConfig(context: CliContext, output: Output, options: ParsedOptions): Config {
  const loaded = loadFor(context, options);
  for (const warning of loaded.warnings) output.warn(describeRemark(warning));
  if (loaded.kind === "loaded") return loaded.config;
  if (output.isJson) output.json({ faultCount: loaded.faultCount, faults: loaded.faults.map(describeRemark) });
  throw new CliFailure("usage", listFaults(loaded));
}

/** "2 faults in the configuration:" and one line each, as far as they are told. */
export function listFaults({ faults, faultCount }: Extract<LoadedConfig, { kind: "faulty" }>): string {
  const rest = describeRest({ kept: faults, count: faultCount }, "fault");
  const lines = [...faults.map(describeRemark), ...(rest === undefined ? [] : [rest])];
  return [`${faultCount} ${faultCount === 1 ? "fault" : "faults"} in the configuration:`, ...lines.map((line) => `  ${line}`)].join("\n");
}

function pickFlags(options: ParsedOptions): Flags {
  const flags = settings.flatMap((setting) => (setting.flag === undefined ? [] : [setting.flag]));
  return Object.fromEntries(flags.map((flag) => [flag, options[camelCase(flag)]]));
}

/** "--grpc-port" → "grpcPort", as commander does. */
function camelCase(flag: string): string {
  return flag.replace(/^--/, "").replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function describeFlag(setting: Setting): string {
  const fallback = setting.kind === "boolean" || setting.fallback === undefined ? "" : ` (default: ${String(setting.fallback)})`;
  return `${setting.doc.replaceAll("`", "")}${fallback}`;
}
