import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startCoordinatorProcess } from "../support/coordinator.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { WatchingMcp, weightIn } from "./streams.js";

/** From the moment an MCP is dead to the moment when another one has a table in force in which it has no weight. Unit: ms. */
export type DeadStreams = { readonly silentMs: readonly number[]; readonly resetMs: readonly number[] };

const config = "[session]\nheartbeat_interval_seconds = 2\n";
const mcpFile = fileURLToPath(new URL("./mcp-process.ts", import.meta.url));

/** S13: an MCP that is stopped (SIGSTOP, so nothing of its connection ends) and one whose connection is reset, `rounds` times each. */
export async function runDeadStreams(rounds: number): Promise<DeadStreams> {
  const coordinator = await startCoordinatorProcess({ config });
  const silentMs: number[] = [];
  const resetMs: number[] = [];
  try {
    await using observer = new WatchingMcp(coordinator.target, "observer", "observer-p");
    for (let round = 0; round < rounds; round += 1) silentMs.push(await stopOne(coordinator.target, `stopped-${round}`, observer));
    for (let round = 0; round < rounds; round += 1) resetMs.push(await resetOne(coordinator.target, `reset-${round}`, observer));
  } finally {
    await coordinator.stop();
  }
  return { silentMs, resetMs };
}

async function stopOne(target: string, mcpId: string, observer: WatchingMcp): Promise<number> {
  const child = spawn(process.execPath, ["--import", "tsx", mcpFile, target, mcpId], { stdio: ["pipe", "ignore", "inherit"] });
  const exited = once(child, "exit");
  try {
    await observer.until((routes) => (weightIn(routes, mcpId) ?? 0) > 0);
    // Anywhere between two heartbeats, as it happens.
    await new Promise((resolve) => setTimeout(resolve, 2_000 + Math.random() * 2_000));
    child.kill("SIGSTOP");
    const stoppedAt = performance.now();
    return (await observer.until((routes) => weightIn(routes, mcpId) === 0)) - stoppedAt;
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}

async function resetOne(target: string, mcpId: string, observer: WatchingMcp): Promise<number> {
  await using proxy = await startTcpProxy(Number(target.split(":").at(-1)));
  await using _victim = new WatchingMcp(`127.0.0.1:${proxy.port}`, mcpId, `${mcpId}-p`);
  await observer.until((routes) => (weightIn(routes, mcpId) ?? 0) > 0);
  // Otherwise publications that follow the join would be in the way: what is measured is one that comes out of the blue.
  await new Promise((resolve) => setTimeout(resolve, 500));
  proxy.set("close");
  proxy.cut("reset");
  const resetAt = performance.now();
  return (await observer.until((routes) => weightIn(routes, mcpId) === 0)) - resetAt;
}
