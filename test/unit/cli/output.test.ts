import { describe, expect, test } from "vitest";
import { type CliContext, createOutput, type TalkOptions } from "../../../src/cli/output.js";

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
      readerGone: new AbortController().signal,
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

function outputOn(isTTY: boolean) {
  const written: string[] = [];
  const sink = { write: (text: string) => written.push(text), isTTY };
  const context: CliContext = {
    env: {},
    stdout: sink,
    stderr: sink,
    onSignal: () => () => undefined,
    onReload: () => () => undefined,
    readerGone: new AbortController().signal,
  };
  return { output: createOutput(context, {}), written };
}

describe("what strangers named", () => {
  test.each([
    ["the title of the window", "mcp\u001b]0;owned\u0007"],
    ["the cursor", "mcp\u001b[2J\u001b[1;1H"],
    ["the line, by going back to its start", "mcp\rother"],
    ["a command in eight bits", "mcp\u009b2J"],
  ])("cannot change %s", (_what, name) => {
    const { output, written } = outputOn(true);
    output.data(name);
    output.talk(name);
    for (const line of written) expect(line.trimEnd()).not.toMatch(/\p{Cc}/u);
    expect(written[0]).toMatch(/^mcp\ufffd/);
  });

  test("is shown as it is where it is text, also in colour and over several lines", () => {
    const { output, written } = outputOn(true);
    const text = `${output.paint("red", "Zürich")}\t協調\n  second line`;
    output.data(text);
    expect(written).toEqual(["\u001b[31mZürich\u001b[0m\t協調\n  second line\n"]);
  });
});
