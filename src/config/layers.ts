import { limits } from "../platform/limits.js";
import { documentedNames } from "./documented-names.js";
import type { Place, Remark } from "./place.js";
import { noRemarks, note, type Remarks } from "./remarks.js";
import { sections } from "./schema.js";
import { type Setting, settingOf, settingOfToml, settings, snakeCase } from "./settings.js";
import { asked, suggest, suggestion } from "./suggest.js";
import { isTable, type TomlFile } from "./toml-file.js";

/** A value given to a setting somewhere, already of the right form. */
export type Assignment = { readonly setting: Setting; readonly value: unknown; readonly place: Place };

/** What one layer of the configuration says. */
export type Layer = {
  readonly assignments: readonly Assignment[];
  readonly faults: Remarks;
  readonly warnings: Remarks;
};

/** Flags as given, by their name with both dashes; undefined means not given. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>;

export type Env = Readonly<Record<string, string | undefined>>;

type Draft = Layer & { readonly assignments: Assignment[] };

/** Everything in the file but the keys, which keys.ts reads. */
export function readFileLayer(file: TomlFile): Layer {
  const layer = createDraft();
  for (const [name, value] of Object.entries(file.root)) {
    if (name === "static_api_keys") continue;
    if (!isTable(value)) {
      readName(layer, file, [name], value);
      continue;
    }
    if (!isSection(name)) {
      note(layer.faults, () => ({ place: file.placeOf([name]), message: `no such table${suggestion(name, sectionNames)}` }));
      continue;
    }
    for (const [key, inner] of Object.entries(value)) readName(layer, file, [name, key], inner);
  }
  return layer;
}

/** Variables `MCPC_SECTION__KEY`, for secrets also `…_FILE`, and DATABASE_URL. An empty variable counts as not set. */
export function readEnvLayer(env: Env, readSecretFile: (path: string) => string | undefined): Layer {
  const layer = createDraft();
  const known = new Set<string>();
  for (const setting of settings) {
    if (setting.env === undefined) continue;
    const names = setting.path === "store.databaseUrl" ? ["DATABASE_URL", setting.env] : [setting.env];
    const files = setting.isSecret === true ? names.map((name) => `${name}_FILE`) : [];
    for (const name of [...names, ...files]) known.add(name);
    for (const name of names) {
      const [given, file] = [env[name] ?? "", setting.isSecret === true ? (env[`${name}_FILE`] ?? "") : ""];
      if (given !== "" && file !== "") {
        note(layer.faults, () => ({ place: { kind: "env", name }, message: `and ${name}_FILE are both set; unset one` }));
      } else if (given !== "") assignText(layer, setting, given, { kind: "env", name });
      else if (file !== "") assignSecretFile(layer, setting, file, { kind: "env", name: `${name}_FILE` }, readSecretFile);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith("MCPC_") && !known.has(name)) judgeStranger(layer, name, env[name] ?? "", [...known]);
  }
  return layer;
}

/** The flags of the command line. */
export function readFlagLayer(flags: Flags): Layer {
  const layer = createDraft();
  for (const setting of settings) {
    const value = setting.flag === undefined ? undefined : flags[setting.flag];
    if (setting.flag === undefined || value === undefined) continue;
    const place: Place = { kind: "flag", name: setting.flag };
    if (typeof value === "boolean") assign(layer, setting, value, place);
    else assignText(layer, setting, value, place);
    if (setting.isSecret === true && hasPassword(value)) {
      note(layer.warnings, () => ({
        place,
        message: `holds a password, which every user of this machine can see in the process list; use ${setting.env} instead`,
      }));
    }
  }
  return layer;
}

const sectionNames: readonly string[] = [
  ...new Set([...Object.keys(sections).map(snakeCase), ...Object.keys(documentedNames).flatMap((name) => name.split(".").slice(0, -1))]),
  "static_api_keys",
];

function isSection(name: string): boolean {
  return sectionNames.includes(name);
}

function createDraft(): Draft {
  return { assignments: [], faults: noRemarks(), warnings: noRemarks() };
}

function readName(layer: Draft, file: TomlFile, path: readonly string[], value: unknown): void {
  const name = path.join(".");
  const place = file.placeOf(path);
  if (name === "auth.keys") return;
  const setting = settingOfToml(name);
  if (setting !== undefined) {
    if (setting.kind === "table") assignTable(layer, file, path, setting, value);
    else assign(layer, setting, value, place);
    return;
  }
  const documented = Object.hasOwn(documentedNames, name) ? documentedNames[name] : undefined;
  if (documented === undefined) {
    note(layer.faults, () => ({
      place,
      message: path.length === 1 && isSection(name) ? `must be a table: write [${name}]` : `no such setting${nearest(path)}`,
    }));
  } else if (documented.kind === "idle") {
    note(layer.warnings, () => ({ place, message: documented.why }));
  } else {
    const { warning } = documented;
    if (warning !== undefined) note(layer.warnings, () => ({ place, message: warning }));
    assign(layer, settingOf(documented.path), documented.convert === undefined ? value : documented.convert(value), place);
  }
}

/** A table whose keys operators name: a fault of one entry is reported at that entry, and those of all together. */
function assignTable(layer: Draft, file: TomlFile, path: readonly string[], setting: Setting, value: unknown): void {
  const place = file.placeOf(path);
  if (!isTable(value)) {
    note(layer.faults, () => ({ place, message: `must be a table: write [${setting.tomlPath}]` }));
    return;
  }
  const before = layer.faults.count;
  for (const [key, entry] of Object.entries(value)) {
    const broken = setting.check({ [key]: entry });
    if (broken !== undefined) note(layer.faults, () => ({ place: file.placeOf([...path, key]), message: `${broken}, is ${show(entry)}` }));
  }
  if (layer.faults.count > before) return;
  const broken = setting.check(value);
  if (broken === undefined) layer.assignments.push({ setting, value, place });
  else note(layer.faults, () => ({ place, message: `${broken}, has ${Object.keys(value).length}` }));
}

/** Near names of the same table first, then the same name in any table. */
function nearest(path: readonly string[]): string {
  const key = path[path.length - 1] ?? "";
  const all = [...settings.map((setting) => setting.tomlPath), ...Object.keys(documentedNames)];
  const table = path.length === 2 ? `${path[0]}.` : "";
  const siblings = all
    .filter((name) => name.startsWith(table) && name.split(".").length === path.length)
    .map((name) => name.slice(table.length));
  const near = suggest(key, siblings);
  if (near.length > 0) return asked(near);
  // Of names that stand in several tables the first is ours.
  const elsewhere = new Map(all.toReversed().map((name) => [name.slice(name.indexOf(".") + 1), name]));
  return asked(suggest(key, [...elsewhere.keys()]).flatMap((found) => elsewhere.get(found) ?? []));
}

/** What Kubernetes makes of a service that is called mcpc, or something that begins so. Source: its documentation, "Accessing the Service", environment variables. */
const serviceName = /^MCPC_(.+_)?(SERVICE_(HOST|PORT)(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const serviceAddress = /^(tcp|udp|sctp):\/\//;

/** A variable of ours that names no setting. With "__" it was meant for us; without, an orchestrator may have made it. */
function judgeStranger(layer: Draft, name: string, value: string, known: readonly string[]): void {
  const remark = (): Remark => ({ place: { kind: "env", name }, message: `no such setting${suggestion(name, known)}` });
  if (name.includes("__")) note(layer.faults, remark);
  else if (
    !serviceName.test(name) &&
    !serviceAddress.test(value) &&
    layer.warnings.count < limits.configRemarksMax &&
    suggest(name, known).length > 0
  )
    note(layer.warnings, remark);
}

function assignSecretFile(layer: Draft, setting: Setting, path: string, place: Place, read: (path: string) => string | undefined): void {
  const content = read(path);
  if (content === undefined) note(layer.faults, () => ({ place, message: `the file ${path} cannot be read` }));
  else assignText(layer, setting, content.trim(), place);
}

function assignText(layer: Draft, setting: Setting, value: string, place: Place): void {
  switch (setting.kind) {
    case "number": {
      const isNumber = /^[+-]?(\d+(_\d+)*)(\.\d+)?(e[+-]?\d+)?$/i.test(value.trim());
      assign(layer, setting, isNumber ? Number(value.replaceAll("_", "")) : value, place);
      return;
    }
    case "boolean": {
      const word = value.trim().toLowerCase();
      assign(layer, setting, word === "true" || word === "1" ? true : word === "false" || word === "0" ? false : value, place);
      return;
    }
    default:
      assign(layer, setting, value, place);
  }
}

function assign(layer: Draft, setting: Setting, value: unknown, place: Place): void {
  const broken = setting.check(value);
  if (broken === undefined) layer.assignments.push({ setting, value, place });
  else note(layer.faults, () => ({ place, message: setting.isSecret === true ? broken : `${broken}, is ${show(value)}` }));
}

/** A value in a message, at most 64 characters. */
function show(value: unknown): string {
  const shown = showWhole(value);
  return shown.length > 64 ? `${shown.slice(0, 61)}...` : shown;
}

/** Goes as deep as arrays do, and those the parser bounds; tables may be nested without bound. */
function showWhole(value: unknown): string {
  if (isTable(value)) return "a table";
  if (value instanceof Date) return "a date";
  if (Array.isArray(value)) return `[${value.slice(0, 64).map(showWhole).join(",")}]`;
  return typeof value === "string" ? JSON.stringify(value.slice(0, 64)) : String(value);
}

function hasPassword(value: string | boolean): boolean {
  return typeof value === "string" && /^[a-z]+:\/\/[^/@\s]*:[^/@\s]+@/i.test(value);
}
