import { hkdfSync } from "node:crypto";
import { assert } from "../platform/assert.js";
import { type KeysRead, type PlacedKey, readKeys } from "./keys.js";
import { type Assignment, type Env, type Flags, type Layer, readEnvLayer, readFileLayer, readFlagLayer } from "./layers.js";
import type { Remark, Source } from "./place.js";
import { describeRest, joined, noRemarks, note, type Remarks } from "./remarks.js";
import { isGuessableSecret } from "./samples.js";
import { type Config, configSchema, sections } from "./schema.js";
import { settingOf, settings } from "./settings.js";
import { readToml } from "./toml-file.js";

/** Everything that the configuration is made of. */
export type ConfigInput = {
  /** Content of the TOML file; absent without one. */
  readonly fileText?: string;
  /** Its name in messages. */
  readonly filePath?: string;
  readonly env: Env;
  readonly flags: Flags;
};

export type ConfigDeps = {
  /** Content of a file that a `…_FILE` variable names, or undefined when it cannot be read. */
  readonly readSecretFile: (path: string) => string | undefined;
  /** What `server.coordinator_id` is when nobody says. */
  readonly defaultCoordinatorId: string;
};

/**
 * `sources` says for each setting, by its path in Config, where its value comes from. At most `limits.configRemarksMax` faults and as many warnings are there, the first ones;
 * `faultCount` says how many faults were found, and a last warning how many warnings are left out.
 */
export type LoadedConfig =
  | {
      readonly kind: "loaded";
      readonly config: Config;
      readonly sources: Readonly<Record<string, Source>>;
      readonly warnings: readonly Remark[];
    }
  | { readonly kind: "faulty"; readonly faults: readonly Remark[]; readonly faultCount: number; readonly warnings: readonly Remark[] };

/** Given values by path in Config: the last layer that speaks wins. */
type Given = ReadonlyMap<string, Assignment>;

/**
 * The configuration: defaults, then the file, then the environment, then flags; the later wins. The faults of all layers are reported at once, also
 * one in a value that a later layer replaces. Neither faults nor sources hold a secret. Pure but for what `deps` does. Takes time in proportion to what is given.
 */
export function loadConfig(deps: ConfigDeps, input: ConfigInput): LoadedConfig {
  const file = readToml(input.fileText ?? "", input.filePath ?? "configuration");
  const fileLayer = readFileLayer(file);
  const keysRead = readKeys(file);
  const layers = [fileLayer, readEnvLayer(input.env, deps.readSecretFile), readFlagLayer(input.flags)];
  const given = merge(layers);
  const ofFile = [file.faults, fileLayer.faults, keysRead.faults, findRepeatedNames(fileLayer)];
  const faults = joined([
    { kept: ofFile.flatMap(({ kept }) => kept).sort((left, right) => lineOf(left) - lineOf(right)), count: joined(ofFile).count },
    ...layers.slice(1).map((layer) => layer.faults),
    judgeTogether(given, keysRead.keys),
  ]);
  const warnings = listWarnings(joined([...layers.map((layer) => layer.warnings), keysRead.warnings]));
  if (faults.count > 0) return { kind: "faulty", faults: faults.kept, faultCount: faults.count, warnings };
  return { kind: "loaded", config: build(deps, given, keysRead), sources: sourcesOf(given, keysRead), warnings };
}

function listWarnings(warnings: Remarks): readonly Remark[] {
  const rest = describeRest(warnings, "warning");
  const last = warnings.kept.at(-1);
  return rest === undefined || last === undefined ? warnings.kept : [...warnings.kept, { place: last.place, message: rest }];
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

function merge(layers: readonly Layer[]): Given {
  return new Map(layers.flatMap((layer) => layer.assignments.map((assignment) => [assignment.setting.path, assignment])));
}

function build(deps: ConfigDeps, given: Given, keysRead: KeysRead): Config {
  const tree = Object.fromEntries(
    Object.keys(sections).map((section) => {
      const mine = settings.filter((setting) => setting.section === section && given.has(setting.path));
      return [section, Object.fromEntries(mine.map((setting) => [setting.key, given.get(setting.path)?.value]))];
    }),
  );
  const parsed = configSchema.parse({
    ...tree,
    server: { coordinatorId: deps.defaultCoordinatorId, ...tree.server },
    auth: { ...tree.auth, keys: keysRead.keys.map(({ key }) => key) },
  });
  const { pseudonymKey } = parsed.security;
  if (pseudonymKey === undefined) return parsed;
  return { ...parsed, security: { ...parsed.security, pseudonymKey: stretchKey(pseudonymKey) } };
}

/** 64 hex digits are the key; any other secret gives one. Source: RFC 5869, HKDF with SHA-256. */
function stretchKey(secret: string): string {
  if (/^[0-9a-f]{64}$/i.test(secret)) return secret.toLowerCase();
  return Buffer.from(hkdfSync("sha256", secret, "", "mcp-coordinator user pseudonym v1", 32)).toString("hex");
}

function sourcesOf(given: Given, keysRead: KeysRead): Readonly<Record<string, Source>> {
  const sources = settings.map((setting): [string, Source] => [setting.path, given.get(setting.path)?.place ?? { kind: "default" }]);
  const keysPlace = keysRead.keys[0]?.place;
  return { ...Object.fromEntries(sources), ...(keysPlace === undefined ? {} : { "auth.keys": keysPlace }) };
}

/** A setting given twice in the file, under two names. */
function findRepeatedNames(layer: Layer): Remarks {
  const seen = new Map<string, Assignment>();
  const faults = noRemarks();
  for (const assignment of layer.assignments) {
    const earlier = seen.get(assignment.setting.path);
    seen.set(assignment.setting.path, assignment);
    if (earlier === undefined || earlier.place.kind !== "file") continue;
    const { key, line } = earlier.place;
    note(faults, () => ({ place: assignment.place, message: `means the same setting as ${key} in line ${line ?? "?"}; keep one` }));
  }
  return faults;
}

/** Rules over more than one setting. Only values that are right by themselves come here. */
function judgeTogether(given: Given, keys: readonly PlacedKey[]): Remarks {
  const faults = noRemarks();
  const placeOf = (...paths: readonly string[]): Source =>
    paths.map((path) => given.get(path)?.place).find((place) => place !== undefined) ?? { kind: "default" };
  const horizon = effectiveValue(given, "store.dedupeHorizonDays");
  const retention = effectiveValue(given, "store.retentionDays");
  if (typeof horizon === "number" && typeof retention === "number" && horizon > retention) {
    const message = `dedupe_horizon_days (${horizon}) must not exceed retention_days (${retention}): a repeated event could not be recognised once the first is dropped`;
    note(faults, () => ({ place: placeOf("store.dedupeHorizonDays", "store.retentionDays"), message }));
  }
  const grpcPort = effectiveValue(given, "server.grpcPort");
  if (grpcPort !== 0 && grpcPort === effectiveValue(given, "server.webPort")) {
    const message = `grpc_port and web_port are both ${String(grpcPort)}; each needs its own`;
    note(faults, () => ({ place: placeOf("server.webPort", "server.grpcPort"), message }));
  }
  const areSamplesAllowed = effectiveValue(given, "security.allowSampleSecrets") === true;
  if (!areSamplesAllowed) refuseSamples(faults, given, keys);
  const host = effectiveValue(given, "server.host");
  const isOpen = keys.every(({ isSample }) => isSample);
  if (typeof host === "string" && !isLoopback(host) && isOpen && effectiveValue(given, "server.allowInsecureBind") !== true) {
    const message = `"${host}" can be reached from other machines and ${keys.length > 0 ? "only sample keys" : "no keys"} are configured: add [[auth.keys]] (see \`mcp-coordinator keys generate\`), listen on 127.0.0.1, or give --insecure-bind`;
    note(faults, () => ({ place: placeOf("server.host"), message }));
  }
  return faults;
}

function refuseSamples(faults: Remarks, given: Given, keys: readonly PlacedKey[]): void {
  const secret = given.get("security.pseudonymKey");
  if (secret !== undefined && typeof secret.value === "string" && isGuessableSecret(secret.value)) {
    const message =
      "is a sample or easily guessed; put in 64 random hex digits (`openssl rand -hex 32`), or give --allow-sample-secrets to try it out";
    note(faults, () => ({ place: secret.place, message }));
  }
  for (const { place } of keys.filter(({ isSample }) => isSample)) {
    const message =
      "this key stands in published documents; make a new one (`mcp-coordinator keys generate`), or give --allow-sample-secrets to try it out";
    note(faults, () => ({ place, message }));
  }
}

function effectiveValue(given: Given, path: string): unknown {
  const assignment = given.get(path);
  return assignment === undefined ? settingOf(path).fallback : assignment.value;
}

function lineOf(remark: Remark): number {
  assert(remark.place.kind === "file", "a fault of the file layer has its place in the file");
  return remark.place.line ?? 0;
}
