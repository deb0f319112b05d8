import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makePrivateDirectory } from "../../../src/platform/private-directory.js";

describe("a private directory", () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "mcpc-private-"));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  it("is made with all above it that are missing, for this user only", () => {
    makePrivateDirectory(join(home, "a", "b", "c"));
    expect(statSync(join(home, "a", "b", "c")).mode & 0o777).toBe(0o700);
    expect(statSync(join(home, "a")).mode & 0o777).toBe(0o700);
  });

  it("stays as it is when it is there", () => {
    mkdirSync(join(home, "open"), { mode: 0o755 });
    makePrivateDirectory(join(home, "open"));
    expect(statSync(join(home, "open")).mode & 0o777).toBe(0o755);
  });

  it("is refused where a file is in its place, or in that of one above it", () => {
    writeFileSync(join(home, "file"), "");
    expect(() => makePrivateDirectory(join(home, "file"))).toThrow("EEXIST");
    expect(() => makePrivateDirectory(join(home, "file", "below"))).toThrow("ENOTDIR");
  });

  it("is refused, and nobody waits for ever, where its parent exists and can hold nothing", () => {
    symlinkSync(join(home, "nowhere"), join(home, "dangling"));
    // In a process of its own: what never returns cannot be ended from within.
    const program = `import { makePrivateDirectory } from ${JSON.stringify(new URL("../../../src/platform/private-directory.ts", import.meta.url).href)};
      for (const path of ${JSON.stringify([join(home, "dangling", "below"), "/proc/below"])}) {
        try { makePrivateDirectory(path); console.log("made"); } catch (thrown) { console.log(thrown.code); }
      }`;
    const { stdout } = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
      timeout: 240_000,
      encoding: "utf8",
    });
    expect(stdout.trim().split("\n")).toHaveLength(2);
    expect(stdout).not.toContain("made");
  });
});
