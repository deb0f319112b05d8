import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import packageJson from "../../../package.json" with { type: "json" };
import { readKeys } from "../../../src/config/keys.js";
import { sha256Hex } from "../../../src/config/samples.js";
import { readToml } from "../../../src/config/toml-file.js";
import { coordinatorVersion } from "../../../src/config/version.js";
import { CoordinatorError, type ErrorCode } from "../../../src/platform/errors.js";
import { createTestProgram } from "./test-program.js";

const directory = mkdtempSync(path.join(os.tmpdir(), "mcpc-cli-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const at = path.join(directory, name);
  writeFileSync(at, content);
  return at;
}

describe("the command line", () => {
  test.each([
    [["nonsense"], "unknown command"],
    [["sreve"], "Did you mean serve?"],
    [["serve", "--grpc-prot", "1"], "Did you mean --grpc-port?"],
    [["serve", "extra"], "too many arguments"],
    [["keys", "generate"], "--mcp-id"],
    [[], "Examples:"],
  ])("%j is a usage error on stderr, exit 2", async (argv, words) => {
    const cli = createTestProgram();
    expect(await cli.run(...argv)).toBe(2);
    expect(cli.stderr.join("")).toContain(words);
    expect(cli.stdout).toEqual([]);
  });

  test("help is data: stdout, exit 0, examples first and exit codes last", async () => {
    const cli = createTestProgram();
    expect(await cli.run("--help")).toBe(0);
    expect(cli.stdout.join("")).toMatch(/^Examples:[\s\S]*Exit codes:[\s\S]*130 {2}ended by Ctrl-C/);
    expect(cli.stderr).toEqual([]);
  });

  test("the version is that of the package", async () => {
    expect(coordinatorVersion).toBe(packageJson.version);
    const cli = createTestProgram();
    expect([await cli.run("--version"), await cli.run("version", "--json")]).toEqual([0, 0]);
    expect(cli.stdout[0]).toBe(`${packageJson.version}\n`);
    expect(JSON.parse(cli.stdout[1] ?? "")).toEqual({
      version: packageJson.version,
      contract: "mcp.coordinator.v1",
      node: process.versions.node,
    });
  });

  test.each<[ErrorCode, number]>([
    ["unavailable", 5],
    ["busy", 5],
    ["unauthenticated", 4],
    ["forbidden", 4],
    ["not_found", 3],
    ["failed_precondition", 1],
  ])("an error %s of a neighbour ends with its message and exit code %i", async (code, exit) => {
    const migrateDatabase = async (): Promise<never> => {
      throw new CoordinatorError(code, "the neighbour said so", { reason: "STORE_UNAVAILABLE" });
    };
    const cli = createTestProgram({ env: { DATABASE_URL: "postgres://db/x" }, deps: { migrateDatabase } });
    expect(await cli.run("migrate")).toBe(exit);
    expect(cli.stderr.join("")).toBe("mcp-coordinator: the neighbour said so\n");
  });

  test("a bug shows its stack and exits with 1", async () => {
    const migrateDatabase = async (): Promise<never> => {
      throw new TypeError("boom");
    };
    const cli = createTestProgram({ env: { DATABASE_URL: "postgres://db/x" }, deps: { migrateDatabase } });
    expect(await cli.run("migrate")).toBe(1);
    expect(cli.stderr.join("")).toMatch(/^mcp-coordinator: internal error: TypeError: boom\n +at /);
  });
});

describe("config", () => {
  test("check reports every fault of every layer with its place, and exits with 2", async () => {
    const at = file("bad.toml", '[server]\ngrpc_port = 70000\nweb_prot = 1\n[store]\nretention_days = "x"\n');
    const cli = createTestProgram({ env: { MCPC_ROUTING__BLACKOUT_PERIOD_MS: "soon" } });
    expect(await cli.run("config", "check", "--config", at, "--log-level", "loud")).toBe(2);
    const lines = cli.stderr.join("").split("\n");
    expect(lines[0]).toBe("mcp-coordinator: 5 faults in the configuration:");
    expect(lines.slice(1, 6).map((line) => line.trim().split(": ")[0])).toEqual([
      `${at}:2 server.grpc_port`,
      `${at}:3 server.web_prot`,
      `${at}:5 store.retention_days`,
      "environment MCPC_ROUTING__BLACKOUT_PERIOD_MS",
      "flag --log-level",
    ]);
  });

  test("a file that is not there is a fault of whoever named it, beside the others", async () => {
    const cli = createTestProgram({ env: { CONFIG_PATH: "/nowhere/c.toml" } });
    expect(await cli.run("config", "check", "--json", "--grpc-port", "x")).toBe(2);
    expect(JSON.parse(cli.stdout.join(""))).toMatchObject({
      isValid: false,
      faults: ["environment CONFIG_PATH: cannot read /nowhere/c.toml: there is no such file", expect.stringMatching(/^flag --grpc-port/)],
    });
  });

  test("what print prints is TOML that loads to the same settings, with sources and without secrets", async () => {
    const at = file(
      "good.toml",
      `[security]\npseudonym_key = "${"0123456789abcdef".repeat(4)}"\n[server]\ndrain_seconds = 7\n[routing.objectives]\nocr = 800\n"report.monthly" = 5000\n`,
    );
    const cli = createTestProgram({ env: { DATABASE_URL: "postgres://ann:h1dden@db/x" } });
    expect(await cli.run("config", "print", "--config", at, "--grpc-port", "6000")).toBe(0);
    const text = cli.stdout.join("");
    expect(text).toMatch(/^grpc_port = 6000 +# flag --grpc-port$/m);
    expect(text).toContain(`# ${at}:4 server.drain_seconds`);
    expect(text).toContain("# database_url is set, not shown  # environment DATABASE_URL");
    expect(text).not.toMatch(/h1dden|0123456789abcdef/);
    const again = createTestProgram();
    expect(await again.run("config", "print", "--json", "--config", file("again.toml", text))).toBe(0);
    const settings: unknown = JSON.parse(again.stdout.join("")).settings;
    expect(settings).toMatchObject({
      "server.grpc_port": { value: 6000 },
      "server.drain_seconds": { value: 7 },
      "store.database_url": { value: null },
      "routing.objectives": { value: { ocr: 800, "report.monthly": 5000 } },
    });
  });

  test("keys are listed by their public names only", async () => {
    const at = file(
      "keys.toml",
      '[[auth.keys]]\nid = "gate"\nmcp_id = "*"\nkey = "a-plain-key-h1dden-0000"\nexpires_at = 2030-01-01T00:00:00Z\n',
    );
    const cli = createTestProgram();
    expect([await cli.run("config", "print", "--config", at), await cli.run("config", "print", "--json", "--config", at)]).toEqual([0, 0]);
    expect(cli.stdout.join("")).toContain('# key "gate" for mcp_id "*": expires 2030-01-01T00:00:00.000Z');
    expect(cli.stdout.join("")).toContain('"keys":[{"id":"gate","mcpId":"*","expiresAt":"2030-01-01T00:00:00.000Z","isDisabled":false}]');
    expect([...cli.stdout, ...cli.stderr].join("")).not.toContain("h1dden");
    expect(cli.stderr.join("")).toContain("stands here in plain text");
  });
});

describe("keys generate", () => {
  test("shows the key on stderr alone and gives lines that load as its hash", async () => {
    const cli = createTestProgram();
    expect(await cli.run("keys", "generate", "--mcp-id", 'ocr "one"', "--id", "ocr-1", "--expires-in-days", "30")).toBe(0);
    const key = /sk-mcp-v2-\S+/.exec(cli.stderr.join(""))?.[0] ?? "";
    expect(cli.stdout.join("")).not.toContain(key);
    const read = readKeys(readToml(cli.stdout.join(""), "c.toml"));
    expect(read.faults.count).toBe(0);
    expect(read.keys.map((placed) => placed.key)).toEqual([
      { id: "ocr-1", mcpId: 'ocr "one"', sha256: sha256Hex(key), isDisabled: false, expiresAtMs: Date.UTC(2026, 11, 20) },
    ]);
  });

  test("with --json everything is one value on stdout", async () => {
    const cli = createTestProgram();
    expect(await cli.run("keys", "generate", "--mcp-id", "*", "--json")).toBe(0);
    expect(cli.stderr).toEqual([]);
    const made: unknown = JSON.parse(cli.stdout.join(""));
    expect(made).toMatchObject({
      mcpId: "*",
      key: expect.stringMatching(/^sk-mcp-v2-[\w-]{43}$/),
      id: expect.stringMatching(/^key-[0-9a-f]{8}$/),
    });
  });

  test.each([
    ["--id", "no spaces please"],
    ["--expires-in-days", "0"],
    ["--expires-in-days", "soon"],
    ["--mcp-id", ""],
  ])("%s %j is refused before a key is made", async (flag, value) => {
    const cli = createTestProgram();
    expect(await cli.run("keys", "generate", ...(flag === "--mcp-id" ? [] : ["--mcp-id", "ocr"]), flag, value)).toBe(2);
    expect(cli.stdout).toEqual([]);
    expect(cli.stderr.join("")).not.toContain("sk-mcp");
  });
});

describe("migrate", () => {
  test("tells from where to where, and asks for a database when there is none", async () => {
    const urls: string[] = [];
    const migrateDatabase = async (url: string) => ({ fromVersion: urls.push(url), toVersion: 2 });
    const cli = createTestProgram({ env: { DATABASE_URL: "postgres://db/x" }, deps: { migrateDatabase } });
    expect([await cli.run("migrate"), await cli.run("migrate"), await cli.run("migrate", "--json")]).toEqual([0, 0, 0]);
    expect(cli.stdout).toEqual([
      "schema brought from 1 to 2\n",
      "schema 2 is current; nothing to do\n",
      '{"fromVersion":3,"toVersion":2}\n',
    ]);
    expect(urls).toEqual(["postgres://db/x", "postgres://db/x", "postgres://db/x"]);
    const without = createTestProgram();
    expect(await without.run("migrate")).toBe(2);
    expect(without.stderr.join("")).toContain("no database is given");
  });
});

describe("colour", () => {
  test.each([
    ["on a terminal", { isTerminal: true }, [], true],
    ["in a pipe", { isTerminal: false }, [], false],
    ["with --no-color", { isTerminal: true }, ["--no-color"], false],
    ["with NO_COLOR", { isTerminal: true, env: { NO_COLOR: "1" } }, [], false],
    ["with --json", { isTerminal: true }, ["--json"], false],
  ])("%s", async (_, given, flags, isColoured) => {
    const cli = createTestProgram(given);
    await cli.run("config", "print", ...flags);
    expect(cli.stdout.join("").includes("\u001b[")).toBe(isColoured);
  });
});
