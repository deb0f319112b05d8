import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outputOf } from "../support/child-output.js";

const mainFile = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "mcpc-command-line-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Runs the program as `$MC` in a line of shell. */
const shell = (line: string) =>
  outputOf(
    spawn("bash", ["-c", line], { env: { ...process.env, MC: `${process.execPath} ${mainFile}` }, stdio: ["ignore", "pipe", "pipe"] }),
  );

describe("a port that is taken", () => {
  it.each(["grpc", "web"])("ends the start with one line that names the flag, before the store is touched: %s", async (which) => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const address = holder.address();
    const taken = typeof address === "object" && address !== null ? address.port : 0;
    const dataDir = join(scratch, `never-${which}`);
    const ports = which === "grpc" ? `--grpc-port ${taken} --web-port 0` : `--grpc-port 0 --web-port ${taken}`;
    const { code, stdout, stderr } = await shell(`$MC serve ${ports} --data-dir ${dataDir}`);
    holder.close();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      `mcp-coordinator: 127.0.0.1:${taken} is already in use: another process listens there; stop it or choose another port (--${which}-port, --host)\n`,
    );
    expect(existsSync(dataDir)).toBe(false);
  });
});
