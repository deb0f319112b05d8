import type { Env } from "../config/layers.js";

/** Where text goes, cut to what is used of a stream. */
export type TextSink = { readonly write: (text: string) => unknown; readonly isTTY?: boolean; readonly columns?: number };

/** What a command knows of the world around it. Only main.ts makes the real one. */
export type CliContext = {
  readonly env: Env;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  /** Calls `listener` at each SIGINT and SIGTERM. Returns how to stop. */
  readonly onSignal: (listener: (signal: "SIGINT" | "SIGTERM") => void) => () => void;
  /** Calls `listener` at each SIGHUP, which then no longer ends the process. Returns how to stop. */
  readonly onReload: (listener: () => void) => () => void;
  /** Aborts when whoever read stdout has gone away. What has an end of its own goes on to it, for its exit code; what has none ends. */
  readonly readerGone: AbortSignal;
};

/** Data goes to stdout, talk to stderr, so that a pipe gets data only. */
export type Output = {
  readonly isJson: boolean;
  readonly data: (text: string) => void;
  /** One JSON value, on one line. */
  readonly json: (value: unknown) => void;
  readonly talk: (text: string) => void;
  /** Something that should be known and stops nothing; it is talk. */
  readonly warn: (text: string) => void;
  /** Colours text for stdout. */
  readonly paint: (colour: Colour, text: string) => string;
};

export type Colour = keyof typeof colours;

/** Select Graphic Rendition codes. Source: ECMA-48, 8.3.117. */
const colours = { red: 31, green: 32, yellow: 33, faint: 2 } as const;

/** Options that every command of ours takes. `color` is false after `--no-color`. */
export type TalkOptions = { readonly json?: boolean; readonly color?: boolean };

/** Output of one command. Colour only on a terminal, and neither with `--no-color` nor with NO_COLOR set to anything (no-color.org). */
export function createOutput(context: CliContext, options: TalkOptions): Output {
  const isJson = options.json === true;
  const isColoured = (sink: TextSink) => options.color !== false && !isJson && (context.env.NO_COLOR ?? "") === "" && sink.isTTY === true;
  const paintFor = (sink: TextSink) => (colour: Colour, text: string) =>
    isColoured(sink) ? `\u001b[${colours[colour]}m${text}\u001b[0m` : text;
  return {
    isJson,
    data: (text) => void context.stdout.write(`${printable(text)}\n`),
    json: (value) => void context.stdout.write(`${JSON.stringify(value)}\n`),
    talk: (text) => void context.stderr.write(`${printable(text)}\n`),
    warn: (text) => void context.stderr.write(`${paintFor(context.stderr)("yellow", "warning")} ${printable(text)}\n`),
    paint: paintFor(context.stdout),
  };
}

/** The colours of `paint`, and back from them. */
const paints: ReadonlySet<string> = new Set([0, ...Object.values(colours)].map((code) => `\u001b[${code}m`));

/** The text without what a terminal would obey, but line ends, tabs and our colours: names and reasons of strangers are in it, who may be hostile. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}(?:\[\d{1,2}m)?/gu, (found) => {
    const isOurs = found.startsWith("\n") || found.startsWith("\t") || paints.has(found);
    return isOurs ? found : `\ufffd${found.slice(1)}`;
  });
}
