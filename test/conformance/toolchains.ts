import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ClientCommand } from "./client-process.js";

/** A client of examples/, and what it takes to build it. */
export type Language = {
  readonly name: string;
  /** Each has to answer before anything is built. */
  readonly tools: readonly (readonly [string, ...string[]])[];
  /** The program that builds it into the folder that is its only argument. */
  readonly build: string;
  readonly run: (folder: string) => ClientCommand;
};

/** `skipped`: this machine cannot build it, and why. `failed`: it can, and the build went wrong. */
export type Built =
  | { readonly kind: "built"; readonly command: ClientCommand }
  | { readonly kind: "skipped" | "failed"; readonly why: string };

const root = fileURLToPath(new URL("../..", import.meta.url));
const at = (...parts: readonly string[]): string => join(root, ...parts);

/** The examples, in the order of the table. */
export const languages: readonly Language[] = [
  { name: "go", tools: [["go", "version"]], build: at("examples/go/build.sh"), run: (folder) => [join(folder, "reporter")] },
  {
    name: "python",
    tools: [
      ["python3", "--version"],
      ["python3", "-c", "import venv, ensurepip"],
    ],
    build: at("examples/python/build.sh"),
    run: (folder) => [at("examples/python/run.sh"), folder],
  },
  {
    name: "java",
    tools: [
      ["javac", "-version"],
      ["mvn", "--version"],
    ],
    build: at("examples/java/build.sh"),
    run: (folder) => [at("examples/java/run.sh"), folder],
  },
];

/** The TypeScript client, which needs no building. */
export const reference: ClientCommand = [process.execPath, "--import", "tsx", at("test/conformance/reference.ts")];

/** Where builds are kept between runs. Ignored by git. */
const cache = at(".tools/polyglot");
const toolMaxMs = 30_000;
const buildMaxMs = 240_000;
const tailMaxChars = 4_000;

/**
 * What a tool says when it could not fetch packages, as against code that does not compile: name resolution, refused or timed-out connections,
 * refusals by a proxy, an offline mode, an index without the package.
 */
const unreachable =
  /no such host|dial tcp|i\/o timeout|connection refused|network is unreachable|could not resolve|name resolution|unknown host|unknownhostexception|could not transfer|max retries exceeded|no matching distribution|newconnectionerror|connection timed out|connect timed out|proxyerror|offline mode|goproxy=off|module lookup disabled/i;

/** Builds one language. Bound: `buildMaxMs`. */
export async function buildLanguage({ name, tools, build, run }: Language): Promise<Built> {
  for (const tool of tools) {
    const probed = await outcomeOf(tool, toolMaxMs);
    if (probed.code !== 0) return { kind: "skipped", why: `no ${tool.join(" ")}: ${lastLine(probed.output)}` };
  }
  const folder = join(cache, name);
  const built = await outcomeOf([build, folder], buildMaxMs);
  if (built.code === 0) return { kind: "built", command: run(folder) };
  if (built.code === undefined) return { kind: "skipped", why: `the build did not end within ${buildMaxMs / 1_000} s` };
  const tooOld = built.output.split("\n").find((one) => /requires go >=|release version \d+ not supported/.test(one));
  if (tooOld !== undefined) return { kind: "skipped", why: `the tools are too old: ${tooOld.trim().slice(0, 200)}` };
  const line = built.output.split("\n").find((one) => unreachable.test(one));
  if (line !== undefined) return { kind: "skipped", why: `packages cannot be fetched: ${line.trim().slice(0, 200)}` };
  return { kind: "failed", why: `the build exits with ${built.code}:\n${built.output.trimEnd()}` };
}

/** `code` undefined: it took too long. A program that is not there has exit code 127, as in a shell. */
function outcomeOf(
  [program, ...args]: readonly [string, ...string[]],
  maxMs: number,
): Promise<{ readonly code: number | undefined; readonly output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: [at("node_modules/.bin"), process.env.PATH ?? ""].join(delimiter) };
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let output = "";
    const keep = (chunk: string): void => {
      output = (output + chunk).slice(-tailMaxChars);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL"); // its own group: compilers have children
      resolve({ code: undefined, output });
    }, maxMs);
    const end = (code: number, last = ""): void => {
      clearTimeout(timer);
      resolve({ code, output: output + last });
    };
    child.once("error", (error) => end(127, error.message));
    child.once("close", (code) => end(code ?? 1));
  });
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
