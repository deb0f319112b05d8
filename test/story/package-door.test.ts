import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ChildOutput, outputOf } from "../support/child-output.js";

/** An MCP of somebody else's, in a project that has this package among its own. */
const source = `
import { createReporter, type Interaction, type ReporterOptions, type ReporterState } from "mcp-coordinator/client";

const options: ReporterOptions = { mcpId: "door", enableReporting: false };
// @ts-expect-error: an option of another type
const wrong: ReporterOptions = { mcpId: "door", maxRetries: "3" };

await using reporter = createReporter(options);
const length: number = await reporter.withInteraction({ requestType: "ocr" }, async (interaction: Interaction) => interaction.id.length);
const kind: ReporterState["kind"] = reporter.state.kind;
console.log(JSON.stringify({ length, kind, wrong: createReporter(wrong).state.kind }));
`;

describe("a project that depends on the package", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "mcpc-door-"));
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(resolve("."), join(folder, "node_modules", "mcp-coordinator"));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "mcp.ts"), source);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (...args: readonly string[]): Promise<ChildOutput> =>
    outputOf(spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }));

  it("imports the reporter under its public name, with types that know what is right", { timeout: 300_000 }, async () => {
    const compiler = resolve("node_modules/typescript/lib/tsc.js");
    const roots = resolve("node_modules/@types");
    const flags = ["--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--lib", "es2023,esnext.disposable"];
    const compiled = await run(compiler, ...flags, "--types", "node", "--typeRoots", roots, "mcp.ts");
    expect(compiled).toEqual({ code: 0, stdout: "", stderr: "" });
    const ran = await run("mcp.js");
    expect([ran.code, ran.stderr]).toEqual([0, ""]);
    expect(JSON.parse(ran.stdout)).toEqual({ length: 36, kind: "off", wrong: "unusable" });
  });

  it("gets nothing else of the package", async () => {
    for (const name of ["mcp-coordinator", "mcp-coordinator/dist/src/compose.js"]) {
      const { code, stderr } = await run("--input-type=module", "--eval", `await import(${JSON.stringify(name)})`);
      expect([code, stderr]).toEqual([1, expect.stringContaining("ERR_PACKAGE_PATH_NOT_EXPORTED")]);
    }
  });
});
