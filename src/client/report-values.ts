import type { Json, Payload, ResourceUsage, Span } from "../interaction/event.js";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { durationOf } from "./wire/time.js";

/** Turns the values of a report into those of a draft. What does not fit becomes a fault and reads as absent: callers without types may give anything. */
export class ReportValues {
  readonly #given: Readonly<Record<string, unknown>>;
  readonly faults: FieldFault[] = [];

  constructor(given: Readonly<Record<string, unknown>>) {
    this.#given = given;
  }

  text(name: string): string {
    const value = this.#given[name];
    if (typeof value === "string") return value;
    if (value !== undefined && value !== null) this.#fault(name, "must be a string");
    return "";
  }

  number(name: string): number | undefined {
    const value = this.#given[name];
    if (typeof value === "number" || value === undefined || value === null) return value ?? undefined;
    this.#fault(name, "must be a number");
    return undefined;
  }

  boolean(name: string): boolean | undefined {
    const value = this.#given[name];
    if (typeof value === "boolean" || value === undefined || value === null) return value ?? undefined;
    this.#fault(name, "must be true or false");
    return undefined;
  }

  /** A size or count: a whole number from 0 to 2^53 - 1; 0 when absent. */
  size(name: string): bigint {
    const value = this.number(name);
    if (value === undefined) return 0n;
    if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
    this.#fault(name, "must be a whole number, not negative", "OUT_OF_RANGE");
    return 0n;
  }

  /** A length of time in milliseconds. */
  span(name: string): Span | undefined {
    const ms = this.number(name);
    if (ms === undefined) return undefined;
    if (Number.isFinite(ms) && ms >= 0 && ms < 1e15) return durationOf(ms);
    this.#fault(name, "must be milliseconds, not negative", "OUT_OF_RANGE");
    return undefined;
  }

  texts(name: string): readonly string[] {
    const value = this.#given[name];
    if (value === undefined || value === null) return [];
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    this.#fault(name, "must be a list of strings");
    return [];
  }

  labels(name: string): Readonly<Record<string, string>> {
    const value = this.#given[name];
    if (value === undefined || value === null) return {};
    if (isObject(value) && Object.values(value).every((item) => typeof item === "string")) {
      return { ...(value as Readonly<Record<string, string>>) }; // every member was looked at
    }
    this.#fault(name, "must be an object of strings");
    return {};
  }

  usage(name: string): ResourceUsage | undefined {
    const value = this.#given[name];
    if (value === undefined || value === null) return undefined;
    if (!isObject(value)) {
      this.#fault(name, "must be an object");
      return undefined;
    }
    const parts = new ReportValues(value);
    const usage = {
      cpuPercent: parts.number("cpuPercent"),
      memoryBytes: parts.number("memoryBytes"),
      gpuPercent: parts.number("gpuPercent"),
    };
    this.faults.push(...parts.faults.map((fault) => ({ ...fault, field: `${name}.${fault.field}` })));
    return usage;
  }

  object(name: string): Json | undefined {
    const value = this.#given[name];
    if (value === undefined || value === null) return undefined;
    if (isObject(value)) return this.#json(value, name, 1);
    this.#fault(name, "must be an object");
    return undefined;
  }

  /**
   * Content: bytes stay bytes, an object stays one, any other JSON value travels as its text. `more` are members without a field of their own; they are
   * added to an object, and make one where there is nothing.
   */
  payload(name: string, more: Readonly<Record<string, unknown>> | undefined): Payload | undefined {
    const value = this.#given[name];
    const isAbsent = value === undefined || value === null;
    if (value instanceof Uint8Array) return { kind: "raw", raw: value, contentType: "application/octet-stream" };
    if (isAbsent || isObject(value)) {
      if (isAbsent && more === undefined) return undefined;
      return { kind: "json", json: this.#json({ ...(isAbsent ? {} : value), ...more }, name, 1), contentType: "" };
    }
    const text = JSON.stringify(this.#json(value, name, 1));
    return { kind: "raw", raw: Buffer.from(text), contentType: "application/json" };
  }

  /** A copy that is JSON: without undefined members, dates as text. Ends at the depth that a coordinator takes, so that a circle does too. */
  #json(value: unknown, field: string, depth: number): Json {
    if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
    if (typeof value !== "object") return this.#reject(field, `${typeof value} is no JSON value`, "UNREPRESENTABLE");
    if (depth > limits.jsonMaxDepth) return this.#reject(field, `at most ${limits.jsonMaxDepth} levels of nesting`, "TOO_DEEP");
    if (Array.isArray(value)) return value.map((item) => (item === undefined ? null : this.#json(item, field, depth + 1)));
    const copy: Record<string, Json> = {};
    for (const [key, member] of Object.entries(value)) {
      if (this.faults.length >= limits.violationMaxCount) return null;
      if (member !== undefined) Object.defineProperty(copy, key, { value: this.#json(member, field, depth + 1), ...plain });
    }
    return copy;
  }

  #reject(field: string, description: string, reason: string): null {
    this.#fault(field, description, reason);
    return null;
  }

  #fault(field: string, description: string, reason = "MALFORMED"): void {
    if (this.faults.length < limits.violationMaxCount) this.faults.push({ field, reason, description });
  }
}

/** Of an ordinary member. Defined and not assigned: a key such as __proto__ is a name like any other. */
const plain = { enumerable: true, writable: true, configurable: true } as const;

/** Whether it is an object with members: no list, no bytes. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
