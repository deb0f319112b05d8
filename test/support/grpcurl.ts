import { execFile, spawn } from "node:child_process";
import { access, mkdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const repository = fileURLToPath(new URL("../../", import.meta.url));
const toolsBin = join(repository, ".tools", "bin");
const grpcurlPackage = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";

/** Where grpcurl is, or why these tests cannot have it. */
export type Tool = { readonly kind: "found"; readonly path: string } | { readonly kind: "missing"; readonly why: string };

/** What a command printed, and how it ended. */
export type CommandResult = { readonly code: number; readonly stdout: string; readonly stderr: string };

/**
 * grpcurl from PATH, else from .tools/bin, else built into it when Go is here.
 * Errors: throws instead of `missing` when MCPC_REQUIRE_GRPCURL=1, so that CI cannot skip these tests unseen.
 */
export async function findGrpcurl(): Promise<Tool> {
  const found = (await findOnPath("grpcurl")) ?? (await executable(join(toolsBin, "grpcurl")));
  if (found !== undefined) return { kind: "found", path: found };
  const why = await installGrpcurl();
  if (why === undefined) return { kind: "found", path: join(toolsBin, "grpcurl") };
  if (process.env.MCPC_REQUIRE_GRPCURL === "1") throw new Error(why);
  return { kind: "missing", why };
}

let tool: Promise<Tool> | undefined;

/** Runs grpcurl with `args`; `stdin` is written and closed. Ends by itself or is killed after two minutes. */
export async function runGrpcurl(args: readonly string[], stdin = ""): Promise<CommandResult> {
  tool ??= findGrpcurl();
  const found = await tool;
  if (found.kind === "missing") throw new Error(found.why);
  return runCommand(found.path, args, stdin);
}

/** Runs `buf curl` of this repository's own buf with `args`. */
export async function runBufCurl(args: readonly string[], stdin = ""): Promise<CommandResult> {
  return runCommand(join(repository, "node_modules", ".bin", "buf"), ["curl", ...args], stdin);
}

async function installGrpcurl(): Promise<string | undefined> {
  const go = (await findOnPath("go")) ?? (await executable("/usr/local/go/bin/go"));
  if (go === undefined) return "grpcurl is not on PATH, and Go, which could build it, is not either";
  await mkdir(toolsBin, { recursive: true });
  try {
    await run(go, ["install", grpcurlPackage], { env: { ...process.env, GOBIN: toolsBin }, timeout: 300_000 });
    return undefined;
  } catch (thrown) {
    return `grpcurl is not on PATH, and building it failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
}

async function findOnPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = await executable(join(folder, name));
    if (path !== undefined) return path;
  }
  return undefined;
}

async function executable(path: string): Promise<string | undefined> {
  try {
    await access(path, 1);
    return path;
  } catch {
    return undefined;
  }
}

function runCommand(path: string, args: readonly string[], stdin: string): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { timeout: 120_000, stdio: ["pipe", "pipe", "pipe"] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const stderr = Buffer.concat(err).toString() + (signal === null ? "" : `\nkilled by ${signal}`);
      resolve({ code: code ?? -1, stdout: Buffer.concat(out).toString(), stderr });
    });
    child.stdin.on("error", () => {}); // a command that has ended reads no more
    child.stdin.end(stdin);
  });
}
