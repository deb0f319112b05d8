import type { Instant, Json, ResourceUsage, Span } from "../../interaction/event.js";
import type { FieldFault } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import { type ReadTime, readInstant, readSpan } from "./times.js";

export type JsonObject = { readonly [key: string]: Json };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Member = { readonly path: string; readonly value: Json };

/**
 * The members of one report, wherever they stand in it, taken one by one; what nobody takes is the rest. Faults name where in the report a value stands.
 * `null` is as good as absent for whoever takes, and is kept in the rest.
 */
export class Fields {
  readonly #members = new Map<string, Member>();
  /** Members whose name is taken already by another place, with that place in front. */
  readonly #displaced = new Map<string, Json>();
  readonly #clashes = new Map<string, string>();
  readonly faults: FieldFault[] = [];
  /** Where the value of a field of the contract stood. */
  readonly places: Record<string, string> = {};

  /** Adds the members of one object of the report. `prefix` is its path with a point behind, or empty. */
  add(object: JsonObject, prefix: string): void {
    for (const key of Object.keys(object)) {
      const value = object[key] ?? null;
      const path = prefix + key;
      const known = this.#members.get(key);
      if (known === undefined || known.value === null) {
        if (known !== undefined && value === null) continue;
        this.#members.set(key, { path, value });
      } else if (value !== null && JSON.stringify(known.value) !== JSON.stringify(value)) {
        this.#clashes.set(key, path);
        this.#displaced.set(path, value);
      }
    }
  }

  /** A short text; with `orNumber`, a number stands for its decimal text. Empty when absent. */
  text(key: string, field: string, orNumber = false): string {
    const value = this.#take(key, field);
    if (value === null) return "";
    if (typeof value === "string") return value;
    if (orNumber && typeof value === "number") return String(value);
    this.#fault(field, "MALFORMED", orNumber ? "must be a text or a number" : "must be a text");
    return "";
  }

  number(key: string, field: string): number | undefined {
    const value = this.#take(key, field);
    if (value === null || typeof value === "number") return value ?? undefined;
    this.#fault(field, "MALFORMED", "must be a number");
    return undefined;
  }

  boolean(key: string, field: string): boolean | undefined {
    const value = this.#take(key, field);
    if (value === null || typeof value === "boolean") return value ?? undefined;
    this.#fault(field, "MALFORMED", "must be true or false");
    return undefined;
  }

  /** A whole number that is not negative; also as a decimal text, as 64-bit integers are written. 0 when absent. */
  whole(key: string, field: string): bigint {
    const value = this.#take(key, field);
    if (value === null) return 0n;
    if (typeof value === "string" && /^\d{1,19}$/.test(value)) return BigInt(value);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
    this.#fault(
      field,
      typeof value === "number" ? "OUT_OF_RANGE" : "MALFORMED",
      "must be a whole number, not negative and below 2^53, or its digits as a text",
    );
    return 0n;
  }

  instant(key: string, field: string): Instant | undefined {
    return this.#time(key, field, readInstant);
  }

  span(key: string, field: string): Span | undefined {
    return this.#time(key, field, readSpan);
  }

  texts(key: string, field: string): readonly string[] {
    const value = this.#take(key, field);
    if (value === null) return [];
    if (Array.isArray(value) && value.every((one: unknown): one is string => typeof one === "string")) return value;
    this.#fault(field, "MALFORMED", "must be an array of texts");
    return [];
  }

  /** An object; undefined when absent. */
  object(key: string, field: string): JsonObject | undefined {
    const value = this.#take(key, field);
    if (value === null || isObject(value)) return value ?? undefined;
    this.#fault(field, "MALFORMED", "must be an object");
    return undefined;
  }

  /** Labels: an object of texts. */
  labels(): Record<string, string> {
    const entries: [string, string][] = [];
    for (const [name, value] of Object.entries(this.object("labels", "labels") ?? {})) {
      if (typeof value === "string") entries.push([name, value]);
      else this.#fault("labels", "MALFORMED", "must hold texts only", `.${name.slice(0, limits.labelKeyMaxBytes)}`);
    }
    return Object.fromEntries(entries);
  }

  /** What an interaction used, in the units of the contract or of the documents: percent, bytes or MiB. Members that it does not know stay. */
  usage(field: string): ResourceUsage | undefined {
    const usage = this.object("resource_usage", field);
    if (usage === undefined) return undefined;
    const path = this.places[field] ?? field;
    const inner = new Fields();
    inner.add(usage, `${path}.`);
    const bytes = inner.number("memory_bytes", `${field}.memory_bytes`);
    const mebibytes = bytes === undefined ? inner.number("memory_usage", `${field}.memory_bytes`) : undefined;
    const read = {
      cpuPercent: inner.number("cpu_percent", `${field}.cpu_percent`) ?? inner.number("cpu_usage", `${field}.cpu_percent`),
      memoryBytes: bytes ?? (mebibytes === undefined ? undefined : mebibytes * 1_048_576),
      gpuPercent: inner.number("gpu_percent", `${field}.gpu_percent`) ?? inner.number("gpu_usage", `${field}.gpu_percent`),
    };
    this.faults.push(...inner.faults);
    Object.assign(this.places, inner.places);
    const rest = inner.rest();
    if (rest !== undefined) this.#members.set("resource_usage", { path, value: rest });
    return read;
  }

  /** The value if `fits` says so; else it stays where it is. */
  takeIf<T extends Json>(key: string, field: string, fits: (value: Json) => value is T): T | undefined {
    const member = this.#members.get(key);
    if (member === undefined || !fits(member.value)) return undefined;
    this.#take(key, field);
    return member.value;
  }

  /** Looks without taking. */
  peek(key: string): Member | undefined {
    return this.#members.get(key);
  }

  /** Puts a member back, or a new one in. */
  put(key: string, path: string, value: Json): void {
    this.#members.set(key, { path, value });
  }

  /** Takes a member that says nothing besides what was read. */
  drop(key: string): void {
    this.#members.delete(key);
  }

  /** What nobody took, by name; undefined when there is nothing. */
  rest(): JsonObject | undefined {
    if (this.#members.size + this.#displaced.size === 0) return undefined;
    const entries = new Map<string, Json>();
    for (const [key, { value }] of this.#members) entries.set(key, value);
    for (const [path, value] of this.#displaced) {
      let key = path;
      while (entries.has(key)) key = `${key}'`;
      entries.set(key, value);
    }
    return Object.fromEntries(entries);
  }

  #take(key: string, field: string): Json {
    const member = this.#members.get(key);
    if (member === undefined) return null;
    this.#members.delete(key);
    this.places[field] = member.path;
    const clash = this.#clashes.get(key);
    if (clash !== undefined) {
      this.#displaced.delete(clash);
      this.faults.push({ field: clash, reason: "MALFORMED", description: `says something else than ${member.path}` });
    }
    return member.value;
  }

  #time<T>(key: string, field: string, read: (value: Json) => ReadTime<T>): T | undefined {
    const value = this.#take(key, field);
    if (value === null) return undefined;
    const time = read(value);
    if (time.kind === "time") return time.time;
    this.#fault(field, time.reason, time.description);
    return undefined;
  }

  #fault(field: string, reason: string, description: string, below = ""): void {
    if (this.faults.length < limits.violationMaxCount)
      this.faults.push({ field: `${this.places[field] ?? field}${below}`, reason, description });
  }
}
