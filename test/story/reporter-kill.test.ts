import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { createConnection } from "../../src/client/connect.js";
import { lookUp } from "../../src/client/verify.js";
import { seededRng } from "../../src/platform/rng.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";

const rounds = Number(process.env.KILL_ROUNDS ?? 3);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const mcpFile = fileURLToPath(new URL("../support/reporting-mcp.ts", import.meta.url));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Interactions that the MCP has noted as durable; the last line may be half. */
function noted(notes: string): readonly string[] {
  return existsSync(notes) ? readFileSync(notes, "utf8").split("\n").slice(0, -1) : [];
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  return child.exitCode ?? new Promise((resolve) => child.once("exit", resolve));
}

test(`kill -9 of the MCP and of the coordinator loses nothing that was durable and stores nothing twice, ${rounds} times (SEED=${seed})`, {
  timeout: 600_000,
}, async () => {
  const rng = seededRng(seed);
  const dir = mkdtempSync(join(tmpdir(), "mcpc-kill-"));
  const notes = join(dir, "notes");
  const first = await startCoordinatorProcess();
  const [grpcPort = "", webPort = ""] = [first.target, new URL(first.webUrl).host].map((address) => address.split(":")[1]);
  let coordinator: RunningCoordinator = first;
  const startMcp = (count: number): ChildProcess => {
    const args = ["--import", "tsx", mcpFile, first.webUrl, first.target, join(dir, "spool"), notes, String(count)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  };
  try {
    for (let round = 0; round < rounds; round += 1) {
      const before = noted(notes).length;
      const mcp = startMcp(1_000_000);
      while (noted(notes).length < before + 100) await sleep(20);
      await sleep(rng() * 500);
      coordinator.signal("SIGKILL");
      await coordinator.exited;
      const during = noted(notes).length;
      while (noted(notes).length < during + 100) await sleep(20); // the business goes on without a coordinator
      const restarting = startCoordinatorProcess({ dataDir: first.dataDir, flags: ["--grpc-port", grpcPort, "--web-port", webPort] });
      if (rng() < 0.5) coordinator = await restarting;
      await sleep(rng() * 500);
      mcp.kill("SIGKILL");
      await exitOf(mcp);
      coordinator = await restarting;
    }
    expect(await exitOf(startMcp(0))).toBe(0);
    const ids = noted(notes);
    const connection = createConnection({ target: coordinator.target, key: undefined });
    const wrong: string[] = [];
    for (let from = 0; from < ids.length; from += 1_000) {
      const interactionIds = ids.slice(from, from + 1_000);
      const { tallies } = await lookUp(connection, { mcpId: "ocr", events: [], interactionIds }, 60_000);
      for (const id of interactionIds) {
        const { storedEvents, mergedEvents } = tallies?.get(id) ?? { storedEvents: 0, mergedEvents: 0 };
        if (storedEvents !== 2 || mergedEvents !== 2) wrong.push(`${id}: ${storedEvents} stored, ${mergedEvents} merged`);
      }
    }
    connection.close();
    expect(ids.length).toBeGreaterThanOrEqual(200 * rounds);
    expect(wrong).toEqual([]);
  } finally {
    await coordinator.stop();
    await first.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
