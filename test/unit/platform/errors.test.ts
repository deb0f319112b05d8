import { describe, expect, test } from "vitest";
import { assert, unreachable } from "../../../src/platform/assert.js";
import { CoordinatorError, errorReasons, errorTable } from "../../../src/platform/errors.js";

describe("errors", () => {
  test("what is ours passes the funnel unchanged; anything else becomes `broken` and keeps its cause off the message", () => {
    const ours = new CoordinatorError("busy", "later", { reason: "QUEUE_FULL", retryAfterMs: 5 });
    expect(CoordinatorError.from(ours)).toBe(ours);
    for (const thrown of [new TypeError("password=x"), "text", undefined, { a: 1 }]) {
      const funnelled = CoordinatorError.from(thrown);
      expect(funnelled).toMatchObject({ code: "broken", reason: "INTERNAL", message: "internal error", name: "CoordinatorError" });
      expect(funnelled.cause).toBe(thrown);
    }
  });

  test("details that are not given are empty, and no cause means none", () => {
    const error = new CoordinatorError("invalid", "no", { reason: "FIELD_VIOLATION" });
    expect(error).toMatchObject({ retryAfterMs: undefined, fields: [], metadata: {} });
    expect("cause" in error).toBe(false);
    expect(error).toBeInstanceOf(Error);
  });

  test("only what may succeed later is retried: the retry rule agrees with what gRPC clients retry", () => {
    const retried = Object.values(errorTable).flatMap(({ grpc, retry }) => (retry === "never" ? [] : [grpc]));
    expect(retried.sort((left, right) => left - right)).toEqual([4, 8, 14]);
  });

  test("codes map one to one onto gRPC statuses, and none onto success or UNKNOWN", () => {
    const statuses = Object.values(errorTable).map(({ grpc }) => grpc);
    expect(new Set(statuses).size).toBe(statuses.length);
    for (const status of statuses) expect(status).toBeGreaterThan(2);
    for (const { http } of Object.values(errorTable)) expect(http).toBeGreaterThanOrEqual(400);
  });

  test("reasons are words for programs, and each has a meaning for people", () => {
    for (const [reason, meaning] of Object.entries(errorReasons)) {
      expect(reason).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
      expect(meaning.length).toBeGreaterThan(10);
    }
  });
});

describe("assertions", () => {
  test("a claim that does not hold stops with its words", () => {
    expect(() => assert(true, "fine")).not.toThrow();
    expect(() => assert(false, "credit is never negative")).toThrow("assertion failed: credit is never negative");
  });

  test("a value that cannot be stops with what it is", () => {
    const impossible: unknown = { kind: "new" };
    expect(() => unreachable(impossible as never)).toThrow('{"kind":"new"}'); // the cast plays the peer that breaks the type
  });
});
