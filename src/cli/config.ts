import type { Command } from "commander";
import type { LoadedConfig } from "../config/load.js";
import { describePlace, describeRemark, type Source } from "../config/place.js";
import type { StaticKey } from "../config/schema.js";
import { configuredValue, type Setting, settings, snakeCase } from "../config/settings.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type Output } from "./output.js";
import { addSettingFlags, addTalkFlags, listFaults, loadFor, type ParsedOptions } from "./setting-flags.js";

type Effective = Extract<LoadedConfig, { kind: "loaded" }>;

/** `config print` and `config check`. Neither shows a secret. */
export function addConfigCommand(program: Command, context: CliContext): void {
  const config = program.command("config").helpCommand(false).description("show and check the configuration");
  addTalkFlags(addSettingFlags(config.command("print")))
    .description("print the settings in force as TOML, each with where it comes from; secrets are left out")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator config print", "defaults, environment and CONFIG_PATH"],
        ["mcp-coordinator config print --config coordinator.toml --grpc-port 6000", "as serve would see it"],
      ]),
    )
    .action((options: ParsedOptions) => {
      const output = createOutput(context, options);
      const loaded = judge(context, output, options);
      if (output.isJson) output.json(toJson(loaded));
      else output.data(toToml(output, loaded));
    });
  addTalkFlags(addSettingFlags(config.command("check")))
    .description("report every fault of the configuration with its place")
    .addHelpText("before", examples([["mcp-coordinator config check --config coordinator.toml", "exit 0 when it is right, 2 when not"]]))
    .action((options: ParsedOptions) => {
      const output = createOutput(context, options);
      const loaded = judge(context, output, options);
      if (output.isJson) output.json({ isValid: true, faultCount: 0, faults: [], warnings: loaded.warnings.map(describeRemark) });
      else
        output.data(
          `the configuration is valid; ${countGiven(loaded.sources)} of ${settings.length} settings are given, the others have their defaults`,
        );
    });
}

function judge(context: CliContext, output: Output, options: ParsedOptions): Effective {
  const loaded = loadFor(context, options);
  const warnings = loaded.warnings.map(describeRemark);
  if (!output.isJson) for (const warning of warnings) output.warn(warning);
  if (loaded.kind === "loaded") return loaded;
  const faults = loaded.faults.map(describeRemark);
  if (output.isJson) output.json({ isValid: false, faultCount: loaded.faultCount, faults, warnings });
  throw new CliFailure("usage", listFaults(loaded));
}

function countGiven(sources: Effective["sources"]): number {
  return Object.values(sources).filter((source) => source.kind !== "default").length;
}

function toJson(loaded: Effective): unknown {
  const shown = settings.filter(({ kind }) => kind !== "list");
  return {
    settings: Object.fromEntries(
      shown.map((setting) => [setting.tomlPath, { value: showValue(setting, loaded), source: describePlace(sourceOf(setting, loaded)) }]),
    ),
    keys: loaded.config.auth.keys.map(({ id, mcpId, expiresAtMs, isDisabled }) => ({
      id,
      mcpId,
      expiresAt: showTime(expiresAtMs),
      isDisabled,
    })),
    warnings: loaded.warnings.map(describeRemark),
  };
}

/** A secret is shown as whether it is there. */
function showValue(setting: Setting, loaded: Effective): unknown {
  const value = configuredValue(loaded.config, setting);
  if (setting.isSecret === true) return value === undefined ? null : "(set, not shown)";
  return value ?? null;
}

function toToml(output: Output, loaded: Effective): string {
  const sectionNames = [...new Set(settings.map(({ section }) => section))];
  return sectionNames
    .map((section) => {
      const mine = settings.filter((setting) => setting.section === section);
      const lines = mine.flatMap((setting) =>
        setting.kind === "list"
          ? loaded.config.auth.keys.map((key) => output.paint("faint", keyComment(key)))
          : [settingLine(output, setting, loaded)],
      );
      return [`[${snakeCase(section)}]`, ...lines].join("\n");
    })
    .join("\n\n");
}

function settingLine(output: Output, setting: Setting, loaded: Effective): string {
  const name = setting.tomlPath.slice(setting.tomlPath.indexOf(".") + 1);
  const value = configuredValue(loaded.config, setting);
  const source = describePlace(sourceOf(setting, loaded));
  if (value === undefined) return output.paint("faint", `# ${name} is not set`);
  if (setting.isSecret === true) return output.paint("faint", `# ${name} is set, not shown  # ${source}`);
  return `${`${name} = ${toml(value)}`.padEnd(44)} ${output.paint("faint", `# ${source}`)}`;
}

/** A value as a file may say it. JSON is TOML too, but for tables. */
function toml(value: unknown): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)} = ${toml(member)}`);
  return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
}

function keyComment(key: StaticKey): string {
  const expiry = key.expiresAtMs === undefined ? "never expires" : `expires ${showTime(key.expiresAtMs)}`;
  return `# key ${JSON.stringify(key.id)} for mcp_id ${JSON.stringify(key.mcpId)}: ${key.isDisabled ? "disabled, " : ""}${expiry}`;
}

function showTime(timeMs: number | undefined): string | null {
  return timeMs === undefined ? null : new Date(timeMs).toISOString();
}

function sourceOf(setting: Setting, loaded: Effective): Source {
  return loaded.sources[setting.path] ?? { kind: "default" };
}
