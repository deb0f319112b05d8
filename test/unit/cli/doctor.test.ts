import { describe, expect, test } from "vitest";
import { type Check, judgeClock, judgeDatabase, judgeDataDir, judgeNode, judgePort } from "../../../src/cli/checks.js";
import { createTestProgram } from "./test-program.js";

const healthy = { kind: "reached", serverVersion: 150_004, isReadOnly: false, schemaVersion: 1, knownSchemaVersion: 1 } as const;

function failures(checks: readonly Check[]): readonly string[] {
  return checks.flatMap((check) => (check.kind === "failed" ? [`${check.name}: ${check.finding}`] : []));
}

describe("judging", () => {
  test("a database that is right passes; old, read-only and too new each fail by themselves", () => {
    expect(failures(judgeDatabase(healthy))).toEqual([]);
    expect(failures(judgeDatabase({ ...healthy, serverVersion: 130_012 }))).toEqual(["database: Postgres 13.12 is too old"]);
    expect(failures(judgeDatabase({ ...healthy, isReadOnly: true }))).toEqual(["writes: the database is read-only"]);
    expect(failures(judgeDatabase({ ...healthy, schemaVersion: 3 }))).toEqual([
      "schema: the database has schema 3, this version knows up to 1",
    ]);
    expect(failures(judgeDatabase({ ...healthy, schemaVersion: 0 }))).toEqual([]);
    expect(failures(judgeDatabase({ kind: "unreachable", why: "no answer" }))).toEqual(["database: cannot be reached: no answer"]);
  });

  test("a data directory must be writable and unused", () => {
    expect(
      failures([
        judgeDataDir("./d", { exists: false, writable: true }, false),
        judgeDataDir("./d", { exists: true, writable: true }, false),
      ]),
    ).toEqual([]);
    expect(failures([judgeDataDir("./d", { exists: true, writable: false }, false)])).toEqual(["data directory: ./d cannot be written"]);
    expect(failures([judgeDataDir("./d", { exists: false, writable: false }, false)])).toEqual([
      "data directory: ./d does not exist and cannot be made",
    ]);
    expect(failures([judgeDataDir("./d", { exists: true, writable: true, lockedByPid: 42 }, false)])).toEqual([
      "data directory: ./d is in use by process 42",
    ]);
  });

  test("a port may be free, or a coordinator's", () => {
    const judge = (found: Parameters<typeof judgePort>[3]): Check => judgePort("web port", "h:1", "--web-port", found);
    expect(failures([judge({ kind: "free" }), judge({ kind: "taken", byCoordinator: true })])).toEqual([]);
    expect(judge({ kind: "taken", byCoordinator: false })).toMatchObject({
      kind: "failed",
      nextStep: expect.stringContaining("--web-port"),
    });
    expect(judge({ kind: "unusable", code: "EACCES" })).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("1024") });
    expect(judge({ kind: "unusable", code: "EADDRNOTAVAIL" })).toMatchObject({
      kind: "failed",
      nextStep: expect.stringContaining("--host"),
    });
  });

  test("Node must be new enough and the clock sane", () => {
    expect(failures(["20.19.0", "22.0.0", "24.1.0"].map(judgeNode))).toEqual([]);
    expect(failures(["18.20.0", "20.18.9"].map(judgeNode))).toHaveLength(2);
    expect(failures([judgeClock(Date.UTC(2026, 10, 20))])).toEqual([]);
    expect(failures([judgeClock(0), judgeClock(Date.UTC(2150, 0, 1))])).toHaveLength(2);
  });
});

describe("doctor", () => {
  const freePorts = ["--grpc-port", "0", "--web-port", "0"];

  test("exits with 0 when all is well, and says so in JSON", async () => {
    const cli = createTestProgram();
    expect(await cli.run("doctor", "--json", ...freePorts)).toBe(0);
    expect(JSON.parse(cli.stdout.join(""))).toMatchObject({
      isHealthy: true,
      checks: [{ name: "node" }, { name: "clock" }, { name: "configuration" }, { name: "data directory" }, {}, {}],
    });
  });

  test("a failed check has its next step, and the exit code is 1", async () => {
    const cli = createTestProgram({ deps: { examineDataDir: () => ({ exists: true, writable: true, lockedByPid: 7 }) } });
    expect(await cli.run("doctor", ...freePorts)).toBe(1);
    expect(cli.stdout.join("")).toMatch(/FAILED {2}data directory {2}\.\/data is in use by process 7\n +next: stop that process/);
    expect(cli.stderr.join("")).toBe("mcp-coordinator: 1 of 6 checks failed\n");
  });

  test("every fault of the configuration is a failed check, and what depends on it is skipped", async () => {
    const cli = createTestProgram();
    expect(await cli.run("doctor", "--json", "--grpc-port", "x", "--web-port", "y")).toBe(1);
    const { checks }: { checks: readonly Check[] } = JSON.parse(cli.stdout.join(""));
    expect(checks.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      "node passed",
      "clock passed",
      "configuration failed",
      "configuration failed",
      "store skipped",
      "ports skipped",
    ]);
  });

  test("a database that cannot be reached is a finding, without its password", async () => {
    const cli = createTestProgram({ env: { DATABASE_URL: "postgres://ann:h1dden@db/x" } });
    expect(await cli.run("doctor", ...freePorts)).toBe(1);
    expect(cli.stdout.join("")).toContain("cannot be reached: no database here");
    expect([...cli.stdout, ...cli.stderr].join("")).not.toContain("h1dden");
  });
});
