import { describe, expect, test } from "vitest";
import { type CliContext, createOutput } from "../../../src/cli/output.js";

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
