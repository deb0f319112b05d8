import { documentedNames } from "./documented-names.js";
import type { Place, Remark } from "./place.js";
import { sections } from "./schema.js";
import { type Setting, settingOf, settingOfToml, settings, snakeCase } from "./settings.js";
import { suggest, suggestion } from "./suggest.js";
import { isTable, type TomlFile } from "./toml-file.js";

/** A value given to a setting somewhere, already of the right form. */
export type Assignment = { readonly setting: Setting; readonly value: unknown; readonly place: Place };

/** What one layer of the configuration says. */
export type Layer = {
  readonly assignments: readonly Assignment[];
  readonly faults: readonly Remark[];
  readonly warnings: readonly Remark[];
};

/** Flags as given, by their name with both dashes; undefined means not given. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>;

export type Env = Readonly<Record<string, string | undefined>>;

type Draft = { readonly assignments: Assignment[]; readonly faults: Remark[]; readonly warnings: Remark[] };

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
      layer.faults.push({ place: file.placeOf([name]), message: `no such table${suggestion(name, sectionNames)}` });
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
        layer.faults.push({ place: { kind: "env", name }, message: `and ${name}_FILE are both set; unset one` });
      } else if (given !== "") assignText(layer, setting, given, { kind: "env", name });
      else if (file !== "") assignSecretFile(layer, setting, file, { kind: "env", name: `${name}_FILE` }, readSecretFile);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith("MCPC_") && !known.has(name)) layer.faults.push(...judgeStranger(layer, name, [...known]));
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
      layer.warnings.push({
        place,
        message: `holds a password, which every user of this machine can see in the process list; use ${setting.env} instead`,
      });
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
  return { assignments: [], faults: [], warnings: [] };
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
    layer.faults.push({
      place,
      message: path.length === 1 && isSection(name) ? `must be a table: write [${name}]` : `no such setting${nearest(path)}`,
    });
  } else if (documented.kind === "idle") {
    layer.warnings.push({ place, message: documented.why });
  } else {
    if (documented.warning !== undefined) layer.warnings.push({ place, message: documented.warning });
    assign(layer, settingOf(documented.path), documented.convert === undefined ? value : documented.convert(value), place);
  }
}

/** A table whose keys operators name: a fault of one entry is reported at that entry, and those of all together. */
function assignTable(layer: Draft, file: TomlFile, path: readonly string[], setting: Setting, value: unknown): void {
  const place = file.placeOf(path);
  if (!isTable(value)) {
    layer.faults.push({ place, message: `must be a table: write [${setting.tomlPath}]` });
    return;
  }
  const faults = Object.entries(value).flatMap(([key, entry]): readonly Remark[] => {
    const broken = setting.check({ [key]: entry });
    return broken === undefined ? [] : [{ place: file.placeOf([...path, key]), message: `${broken}, is ${show(entry)}` }];
  });
  if (faults.length > 0) layer.faults.push(...faults);
  else {
    const broken = setting.check(value);
    if (broken === undefined) layer.assignments.push({ setting, value, place });
    else layer.faults.push({ place, message: `${broken}, has ${Object.keys(value).length}` });
  }
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
  if (near !== undefined) return `; did you mean ${near}?`;
  const elsewhere = suggest(
    key,
    all.map((name) => name.slice(name.indexOf(".") + 1)),
  );
  const found = all.find((name) => name.slice(name.indexOf(".") + 1) === elsewhere);
  return found === undefined ? "" : `; did you mean ${found}?`;
}

/** A variable of ours that names no setting. With "__" it was meant for us; without, an orchestrator may have made it. */
function judgeStranger(layer: Draft, name: string, known: readonly string[]): readonly Remark[] {
  const remark: Remark = { place: { kind: "env", name }, message: `no such setting${suggestion(name, known)}` };
  if (name.includes("__")) return [remark];
  if (suggest(name, known) !== undefined) layer.warnings.push(remark);
  return [];
}

function assignSecretFile(layer: Draft, setting: Setting, path: string, place: Place, read: (path: string) => string | undefined): void {
  const content = read(path);
  if (content === undefined) layer.faults.push({ place, message: `the file ${path} cannot be read` });
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
  else layer.faults.push({ place, message: setting.isSecret === true ? broken : `${broken}, is ${show(value)}` });
}

/** A value in a message, at most 64 characters. */
function show(value: unknown): string {
  if (isTable(value)) return "a table";
  if (value instanceof Date) return "a date";
  const shown = typeof value === "string" || Array.isArray(value) ? JSON.stringify(value) : String(value);
  return shown.length > 64 ? `${shown.slice(0, 61)}...` : shown;
}

function hasPassword(value: string | boolean): boolean {
  return typeof value === "string" && /^[a-z]+:\/\/[^/@\s]*:[^/@\s]+@/i.test(value);
}
