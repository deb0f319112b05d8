import { z } from "zod";
import { assert } from "../platform/assert.js";
import { type SettingNote, settingNotes } from "./rules.js";
import { type Config, sections } from "./schema.js";

/** How a value is written as text, in the environment and in flags. A `list` and a `table` cannot be: they stand in the file only. */
export type SettingKind = "number" | "boolean" | "text" | "list" | "table";

/** One leaf of the schema with all its names. */
export type Setting = SettingNote & {
  /** Path in Config, for example "server.grpcPort". */
  readonly path: string;
  readonly section: string;
  readonly key: string;
  /** Path in the TOML file, for example "server.grpc_port". */
  readonly tomlPath: string;
  /** For example "MCPC_SERVER__GRPC_PORT"; undefined for lists and tables. */
  readonly env: string | undefined;
  readonly kind: SettingKind;
  /** Undefined for settings that may be absent. */
  readonly fallback: unknown;
  /** The rule that `value` breaks, in words that hold no value; undefined when it breaks none. */
  readonly check: (value: unknown) => string | undefined;
};

/** Every setting, in the order of the schema. */
export const settings: readonly Setting[] = Object.entries(sections).flatMap(([section, group]) =>
  Object.entries<z.ZodType>(group.shape).map(([key, schema]) => describe(section, key, schema)),
);

/** The setting with this TOML path, for example "server.grpc_port". */
export function settingOfToml(tomlPath: string): Setting | undefined {
  return settings.find((setting) => setting.tomlPath === tomlPath);
}

/** The setting with this path in Config. It is our bug when there is none. */
export function settingOf(path: string): Setting {
  const found = settings.find((setting) => setting.path === path);
  assert(found !== undefined, `a setting is called ${path}`);
  return found;
}

/** The value of a setting in `config`; undefined when it is not set. */
export function configuredValue(config: Config, setting: Setting): unknown {
  const groups: Readonly<Record<string, Readonly<Record<string, unknown>>>> = config;
  return groups[setting.section]?.[setting.key];
}

/** "grpcPort" → "grpc_port". */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function describe(section: string, key: string, schema: z.ZodType): Setting {
  const note = settingNotes.get(schema);
  assert(note !== undefined, `setting ${section}.${key} has a note`);
  const kind = kindOf(schema);
  const table = snakeCase(section);
  const snakeKey = snakeCase(key);
  const fallback = schema.safeParse(undefined);
  assert(fallback.success, `setting ${section}.${key} has a default or may be absent`);
  return {
    ...note,
    path: `${section}.${key}`,
    section,
    key,
    tomlPath: `${table}.${snakeKey}`,
    env: kind === "list" || kind === "table" ? undefined : `MCPC_${table}__${snakeKey}`.toUpperCase(),
    kind,
    fallback: fallback.data,
    check: (value) => {
      const judged = schema.safeParse(value);
      return judged.success ? undefined : (judged.error.issues[0]?.message ?? "is not allowed");
    },
  };
}

function kindOf(schema: z.ZodType): SettingKind {
  switch (z.toJSONSchema(schema, { io: "input" }).type) {
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "array":
      return "list";
    case "object":
      return "table";
    default:
      return "text";
  }
}
