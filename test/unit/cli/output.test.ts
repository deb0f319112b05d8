import { describe, expect, test } from "vitest";
import { createOutput, type TalkOptions } from "../../../src/cli/output.js";

/** A painted datum and a warning, with each stream a terminal or not. */
function painted(isTTY: { readonly stdout: boolean; readonly stderr: boolean }, options: TalkOptions = {}, env = {}) {
  const warnings: string[] = [];
  const output = createOutput(
    {
      env,
      stdout: { write: () => undefined, isTTY: isTTY.stdout },
      stderr: { write: (text) => warnings.push(text), isTTY: isTTY.stderr },
      onSignal: () => () => undefined,
      onReload: () => () => undefined,
    },
    options,
  );
  output.warn("old key");
  return [output.paint("green", "met"), ...warnings];
}

describe("colours", () => {
  test("go to the stream that is a terminal, and not into a file beside it", () => {
    expect(painted({ stdout: true, stderr: false })).toEqual(["\u001b[32mmet\u001b[0m", "warning old key\n"]);
    expect(painted({ stdout: false, stderr: true })).toEqual(["met", "\u001b[33mwarning\u001b[0m old key\n"]);
  });

  test.each([
    [{ color: false }, {}],
    [{}, { NO_COLOR: "1" }],
    [{ json: true }, {}],
  ])("are left out with %j and %j", (options, env) => {
    expect(painted({ stdout: true, stderr: true }, options, env)).toEqual(["met", "warning old key\n"]);
  });
});
