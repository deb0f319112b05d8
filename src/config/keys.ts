import { TomlDate } from "smol-toml";
import { limits } from "../platform/limits.js";
import type { Place } from "./place.js";
import { joined, noRemarks, note, type Remarks } from "./remarks.js";
import { isSampleKey, sha256Hex } from "./samples.js";
import type { StaticKey } from "./schema.js";
import { suggestion } from "./suggest.js";
import { isTable, type TomlFile, type TomlTable } from "./toml-file.js";
import type { TomlPath } from "./toml-scan.js";

/** A key with the place that it was given at. */
export type PlacedKey = { readonly key: StaticKey; readonly place: Place; readonly isSample: boolean };

export type KeysRead = { readonly keys: readonly PlacedKey[]; readonly faults: Remarks; readonly warnings: Remarks };

/** Names in a `[[auth.keys]]` table, and in an entry of the documented `[static_api_keys]`. */
const ownNames = ["id", "mcp_id", "sha256", "key", "expires_at", "disabled"] as const;
const documentedEntryNames = ["mcp_id", "created_at", "expires_at", "disabled"] as const;

/** Shortest key in plain text: below it a key can be guessed. Unit: characters. */
const keyMinLength = 16;

/** How much is shown of a name that we do not know. Unit: characters. */
const nameShownMax = 128;

/** Times above it cannot be seconds: it is the year 5138. Milliseconds are meant. */
const secondsMax = 100_000_000_000;

/** One table of a key while it is read. `say` takes a fault of one of its names. */
type Entry = { readonly table: TomlTable; readonly say: (name: string, makeMessage: () => string) => void };

/** The keys of a configuration file, from both forms. Plain keys are hashed here and forgotten. */
export function readKeys(file: TomlFile): KeysRead {
  const faults = noRemarks();
  const warnings = noRemarks();
  const keys = [...readOwn(file, faults, warnings), ...readDocumented(file, faults)];
  return { keys, faults: joined([faults, findRepeated(keys)]), warnings };
}

function readOwn(file: TomlFile, faults: Remarks, warnings: Remarks): readonly PlacedKey[] {
  const auth = file.root.auth;
  const tables: unknown = isTable(auth) ? auth.keys : undefined;
  if (tables === undefined) return [];
  if (!Array.isArray(tables)) {
    note(faults, () => ({ place: file.placeOf(["auth", "keys"]), message: "must be tables: write [[auth.keys]]" }));
    return [];
  }
  return tables.flatMap((table: unknown, index) => {
    const path = ["auth", "keys", String(index)];
    const place = file.placeOf(path, "auth.keys");
    if (!isTable(table)) {
      note(faults, () => ({ place, message: "must be tables: write [[auth.keys]]" }));
      return [];
    }
    const entry = openEntry(file, path, table, "auth.keys", faults);
    refuseUnknown(entry, ownNames);
    const id = readId(entry);
    const sha256 = readHash(entry);
    const rest = readRest(entry);
    if (table.key !== undefined && sha256 !== undefined) {
      const message =
        "stands here in plain text; write its SHA-256 as `sha256` instead (`mcp-coordinator keys generate` prints the lines of a new key)";
      note(warnings, () => ({ place: file.placeOf([...path, "key"], "auth.keys.key"), message }));
    }
    if (id === undefined || sha256 === undefined || rest === undefined) return [];
    return [{ key: { id, sha256, ...rest }, place, isSample: isSampleKey(sha256) }];
  });
}

function readDocumented(file: TomlFile, faults: Remarks): readonly PlacedKey[] {
  const group = file.root.static_api_keys;
  if (group === undefined) return [];
  if (!isTable(group)) {
    note(faults, () => ({ place: file.placeOf(["static_api_keys"]), message: "must be a table of keys" }));
    return [];
  }
  return Object.entries(group).flatMap(([plain, table]) => {
    const path = ["static_api_keys", plain];
    const place = file.placeOf(path, "static_api_keys.(key)");
    const fault = !isTable(table) ? 'must be a table such as { mcp_id = "ocr_workflow_mcp_001" }' : plainKeyFault(plain);
    if (fault !== undefined) note(faults, () => ({ place, message: fault }));
    if (!isTable(table)) return [];
    const entry = openEntry(file, path, table, "static_api_keys.(key)", faults);
    refuseUnknown(entry, documentedEntryNames);
    const rest = readRest(entry);
    if (fault !== undefined || rest === undefined) return [];
    const sha256 = sha256Hex(plain);
    return [{ key: { id: idOfHash(sha256), sha256, ...rest }, place, isSample: isSampleKey(sha256) }];
  });
}

/** The public name of a key that was given none: it stays the same for as long as the key does. */
export function idOfHash(sha256: string): string {
  return `key-${sha256.slice(0, 8)}`;
}

function openEntry(file: TomlFile, path: TomlPath, table: TomlTable, shown: string, faults: Remarks): Entry {
  const placeOf = (name: string): Place => file.placeOf([...path, name], `${shown}.${name.slice(0, nameShownMax)}`);
  return { table, say: (name, makeMessage) => note(faults, () => ({ place: placeOf(name), message: makeMessage() })) };
}

function refuseUnknown(entry: Entry, names: readonly string[]): void {
  for (const name of Object.keys(entry.table)) {
    if (!names.includes(name)) entry.say(name, () => `no such key${suggestion(name, names)}`);
  }
}

function readId(entry: Entry): string | undefined {
  const { id } = entry.table;
  if (typeof id === "string" && /^[A-Za-z0-9._:-]{1,64}$/.test(id)) return id;
  entry.say("id", () => (id === undefined ? "is missing" : "must be 1 to 64 of letters, digits and . _ : -"));
  return undefined;
}

function readHash(entry: Entry): string | undefined {
  const { sha256, key } = entry.table;
  if ((sha256 === undefined) === (key === undefined)) {
    entry.say("sha256", () => (sha256 === undefined ? "is missing" : "and `key` are both given; leave `key` out"));
    return undefined;
  }
  if (sha256 === undefined) {
    const fault = typeof key === "string" ? plainKeyFault(key) : "must be text";
    if (typeof key === "string" && fault === undefined) return sha256Hex(key);
    entry.say("key", () => fault ?? "must be text");
    return undefined;
  }
  if (typeof sha256 === "string" && /^[0-9a-f]{64}$/i.test(sha256)) return sha256.toLowerCase();
  entry.say("sha256", () => `must be 64 hex digits${typeof sha256 === "string" ? `, is ${sha256.length} characters` : ""}`);
  return undefined;
}

function plainKeyFault(key: string): string | undefined {
  if (key.length < keyMinLength) return `the key must have at least ${keyMinLength} characters`;
  if (Buffer.byteLength(key) > limits.keyMaxBytes) return `the key must have at most ${limits.keyMaxBytes} bytes`;
  return /^[\x21-\x7e]+$/.test(key) ? undefined : "the key must be visible ASCII characters without spaces, so that it fits into a header";
}

function readRest(entry: Entry): Pick<StaticKey, "mcpId" | "expiresAtMs" | "isDisabled"> | undefined {
  const { mcp_id: mcpId, disabled, expires_at: expiresAt } = entry.table;
  const isMcpId = typeof mcpId === "string" && mcpId !== "" && Buffer.byteLength(mcpId) <= limits.idMaxBytes;
  if (!isMcpId)
    entry.say("mcp_id", () => (mcpId === undefined ? 'is missing; "*" means any' : `must be text of 1 to ${limits.idMaxBytes} bytes`));
  if (disabled !== undefined && typeof disabled !== "boolean") entry.say("disabled", () => "must be true or false");
  const expiry = expiresAt === undefined ? undefined : readTime(expiresAt);
  if (typeof expiry === "string") entry.say("expires_at", () => expiry);
  if (!isMcpId || (disabled !== undefined && typeof disabled !== "boolean") || typeof expiry === "string") return undefined;
  return { mcpId, isDisabled: disabled ?? false, ...(expiry === undefined ? {} : { expiresAtMs: expiry }) };
}

/** Milliseconds since the Unix epoch, or what is wrong. Takes TOML's own date-time, the same as text, and seconds as the documents write them. */
function readTime(value: unknown): number | string {
  const rule = "must be a date-time with its offset, such as 2027-01-31T00:00:00Z, or seconds since 1970";
  if (typeof value === "number") {
    if (value > secondsMax) return `${rule}; ${value} looks like milliseconds`;
    return Number.isFinite(value) && value >= 0 ? value * 1_000 : rule;
  }
  if (value instanceof TomlDate) return value.isDateTime() && !value.isLocal() ? value.getTime() : rule;
  if (typeof value !== "string" || !/T.*(Z|[+-]\d\d:\d\d)$/i.test(value)) return rule;
  const time = Date.parse(value);
  return Number.isNaN(time) ? rule : time;
}

function findRepeated(keys: readonly PlacedKey[]): Remarks {
  const faults = noRemarks();
  const [hashes, ids] = [new Map<string, PlacedKey>(), new Map<string, PlacedKey>()];
  const line = (other: PlacedKey): string =>
    other.place.kind === "file" && other.place.line !== undefined ? ` in line ${other.place.line}` : "";
  for (const placed of keys) {
    const { key, place } = placed;
    const [sameHash, sameId] = [hashes.get(key.sha256), ids.get(key.id)];
    if (sameHash !== undefined) note(faults, () => ({ place, message: `the same key is already given${line(sameHash)}` }));
    else if (sameId !== undefined) note(faults, () => ({ place, message: `the id "${key.id}" is already given${line(sameId)}` }));
    if (sameHash === undefined) hashes.set(key.sha256, placed);
    if (sameId === undefined) ids.set(key.id, placed);
  }
  return faults;
}
