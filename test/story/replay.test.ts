import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { seededRng } from "../../src/platform/rng.js";
import { type ChildOutput, outputOf } from "../support/child-output.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";

const mainFile = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));
const traceHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";
let dir = "";
let coordinator: RunningCoordinator | undefined;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-replay-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(async () => {
  await coordinator?.stop();
  coordinator = undefined;
});

/** Runs `mcp-coordinator replay` as a user does. */
function replay(...args: readonly string[]): { readonly ended: Promise<ChildOutput>; readonly interrupt: () => void } {
  const { MCPC_KEY: _, ...env } = process.env;
  const child = spawn(process.execPath, [mainFile, "replay", ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  return { ended: outputOf(child), interrupt: () => void child.kill("SIGINT") };
}

/** A trace of `rows` requests at about 5.5 a second, as the recorded one has, from a seed. */
function makeTrace(name: string, rows: number, ...tail: readonly string[]): string {
  const rng = seededRng(rows);
  let atMs = Date.UTC(2023, 10, 16, 18, 15, 46);
  const lines = Array.from({ length: rows }, () => {
    atMs += -Math.log(1 - rng()) * 180;
    const text = new Date(atMs).toISOString().replace("T", " ").replace("Z", "0001");
    return `${text},${Math.floor(rng() * 2_000)},${Math.floor(rng() * 600)}`;
  });
  const path = join(dir, name);
  writeFileSync(path, `${[traceHeader, ...lines, ...tail].join("\n")}\n`);
  return path;
}

/** How many interactions the coordinator has stored. */
async function storedInteractions(running: RunningCoordinator | undefined): Promise<number> {
  const url = `${running?.webUrl}/mcp.coordinator.v1.QueryService/GetStats`;
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  const { totalInteractions } = (await response.json()) as { readonly totalInteractions?: string };
  return Number(totalInteractions ?? 0);
}

const reportOf = (ended: ChildOutput) => JSON.parse(ended.stdout) as Record<string, unknown>;

describe.each([
  { kind: "embedded", isThere: true },
  { kind: "postgres", isThere: findPostgres().kind === "found" },
])("on the $kind store", ({ kind, isThere }) => {
  let postgres: RunningPostgres | undefined;
  beforeAll(async () => {
    if (isThere && kind === "postgres") postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.[Symbol.asyncDispose]();
  });

  test.runIf(isThere)("a replayed trace is stored event by event, none lost, duplicated or differing, and the figures add up", async () => {
    coordinator = await startCoordinatorProcess(postgres === undefined ? {} : { databaseUrl: postgres.url });
    const trace = makeTrace("whole.csv", 800);
    const ended = await replay(
      "--trace",
      trace,
      "--mcps",
      "8",
      "--speed",
      "100",
      "--target",
      coordinator.target,
      "--verify",
      "--json",
      "--seed",
      "4",
    ).ended;
    expect(ended.stderr).toBe("");
    expect(ended.code).toBe(0);
    const report = reportOf(ended);
    expect(report).toMatchObject({
      duplicate: 0,
      rejected: 0,
      unresolved: 0,
      reconnects: 0,
      verification: { lost: 0, duplicated: 0, differing: 0, interactions: 800 },
    });
    expect(report.sent).toBeGreaterThanOrEqual(1_600);
    expect(report.stored).toBe(report.sent);
    expect(report.verification).toMatchObject({ ok: report.sent });
  });
});

test("a coordinator killed and started again in the middle of a replay loses nothing, and the replay says that it reconnected", async () => {
  coordinator = await startCoordinatorProcess();
  const { target, dataDir } = coordinator;
  const port = target.split(":")[1] ?? "";
  const trace = makeTrace("killed.csv", 600);
  const running = replay("--trace", trace, "--mcps", "4", "--speed", "10", "--target", target, "--verify", "--json");
  await expect.poll(() => storedInteractions(coordinator)).toBeGreaterThan(20);
  coordinator.signal("SIGKILL");
  await coordinator.exited;
  const second = await startCoordinatorProcess({ dataDir, flags: ["--grpc-port", port] });
  try {
    const ended = await running.ended;
    expect(ended.stderr).toBe("");
    const report = reportOf(ended);
    expect(report).toMatchObject({ rejected: 0, unresolved: 0, verification: { lost: 0, duplicated: 0, differing: 0, interactions: 600 } });
    expect(report.reconnects).toBeGreaterThanOrEqual(4);
  } finally {
    await second.stop();
  }
});

test("a trace with bad lines sends nothing and names each with its place and reason", async () => {
  coordinator = await startCoordinatorProcess();
  const trace = makeTrace("bad.csv", 3, "yesterday,1,2", "2023-11-16 19:00:00,1");
  const refused = await replay("--trace", trace, "--target", coordinator.target).ended;
  expect(refused.code).toBe(1);
  expect(refused.stdout).toBe("");
  expect(refused.stderr).toContain("2 bad lines; nothing was sent");
  expect(refused.stderr).toContain(`${trace}:5: "yesterday" is not a timestamp`);
  expect(refused.stderr).toContain(`${trace}:6: 2 fields instead of 3`);
  const skipped = await replay("--trace", trace, "--target", coordinator.target, "--skip-bad-lines", "--speed", "1000", "--json").ended;
  expect(skipped.code).toBe(0);
  expect(reportOf(skipped)).toMatchObject({ rejected: 0, unresolved: 0 });
});

test("Ctrl-C ends a replay with its figures and code 130", async () => {
  coordinator = await startCoordinatorProcess();
  const running = replay("--trace", makeTrace("long.csv", 500), "--target", coordinator.target, "--json");
  // The signal must not come before the program listens for it. At the speed of the trace the whole takes a minute and a half.
  await expect.poll(() => storedInteractions(coordinator)).toBeGreaterThan(0);
  running.interrupt();
  const ended = await running.ended;
  expect(ended.code).toBe(130);
  expect(Number(reportOf(ended).sent)).toBeGreaterThan(0);
});

test("a coordinator that goes away for good ends a replay with code 5, once nothing has been acknowledged for the time that was given", async () => {
  coordinator = await startCoordinatorProcess();
  const running = replay("--trace", makeTrace("left.csv", 500), "--target", coordinator.target, "--ack-timeout", "2s");
  await expect.poll(() => storedInteractions(coordinator), { timeout: 30_000 }).toBeGreaterThan(0);
  coordinator.signal("SIGKILL");
  const { code, stderr } = await running.ended;
  expect(stderr).toMatch(/has acknowledged nothing for 2 s and \d+ events wait/);
  expect(code).toBe(5);
});

test.each([
  ["a trace that cannot be read twice", ["--trace", "/dev/stdin"], 2, "/dev/stdin must be a file: it is read twice"],
  ["a patience of nothing", ["--ack-timeout", "0s"], 2, "--ack-timeout must be a duration"],
  ["an unknown trace file", ["--trace", "/nowhere/trace.csv"], 2, "cannot be read"],
  ["no MCPs", ["--mcps", "0"], 2, "--mcps must be a whole number from 1 to 500"],
  ["a speed of nothing", ["--speed", "0"], 2, "--speed must be a number above 0"],
  ["a key file that is not there", ["--key-file", "/nowhere/key"], 2, "cannot be read"],
  ["nobody at the target", ["--target", "127.0.0.1:1"], 5, "127.0.0.1:1 takes no stream"],
])("%s ends a replay with its exit code and says why", async (_, args, code, message) => {
  const trace = args.includes("--trace") ? [] : ["--trace", makeTrace("usage.csv", 2)];
  const ended = await replay(...trace, ...args).ended;
  expect(ended.stderr).toContain(message);
  expect(ended.code).toBe(code);
});

test("a key that may report for one MCP replays as that MCP, and as another is refused with code 4", async () => {
  const keys = spawn(process.execPath, [mainFile, "keys", "generate", "--mcp-id", "ocr", "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  keys.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve) => keys.once("close", resolve));
  const made = JSON.parse(text) as { readonly key: string; readonly toml: string };
  coordinator = await startCoordinatorProcess({ config: made.toml });
  const keyFile = join(dir, "key");
  writeFileSync(keyFile, `${made.key}\n`);
  const common = [
    "--trace",
    makeTrace("keys.csv", 20),
    "--target",
    coordinator.target,
    "--speed",
    "1000",
    "--verify",
    "--json",
    "--key-file",
    keyFile,
  ];
  const own = await replay(...common, "--mcp-id", "ocr").ended;
  expect([own.code, own.stderr]).toEqual([0, ""]);
  expect(reportOf(own)).toMatchObject({ rejected: 0, verification: { lost: 0, duplicated: 0, differing: 0 } });
  expect((await replay(...common, "--mcp-id", "search").ended).code).toBe(4);
});
