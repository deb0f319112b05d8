import { describe, expect, test } from "vitest";
import { failureOf } from "../../../src/cli/ask.js";
import { CliFailure } from "../../../src/cli/exit-code.js";

/** A call that ended with a status, as grpc-js throws it. */
const ended = (code: number, details: string) => Object.assign(new Error(`${code} ${details}`), { code, details });

describe("a call that failed", () => {
  test.each([
    [5, "decision is not known here", "not_found", "db:1: decision is not known here"],
    [7, "this key is bound to one MCP", "refused", "db:1: this key is bound to one MCP"],
    [16, "the key is not known", "refused", "db:1: the key is not known; give a valid key with --key-file, or in MCPC_KEY"],
    [
      14,
      "No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ",
      "unavailable",
      "db:1: cannot be reached: connect ECONNREFUSED 127.0.0.1:1 (gRPC status 14); check the address, and that a coordinator runs there",
    ],
    [13, "a bug", "failed", "db:1: a bug"],
  ])("with status %i is told with the target and the next step: %s", (code, details, exit, message) => {
    const failure = failureOf(ended(code, details), "db:1");
    expect(failure).toBeInstanceOf(CliFailure);
    expect(failure).toMatchObject({ exit, message });
  });

  test("without a status is none of the shell's business and stays as it is", () => {
    const thrown = new TypeError("boom");
    expect(failureOf(thrown, "db:1")).toBe(thrown);
  });
});
