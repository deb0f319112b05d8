import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";

const entry = (id: string) => `[[auth.keys]]\nid = "${id}"\nmcp_id = "demo"\nkey = "sk-watch-${id}-0123456789"\n`;
let dir = "";
let coordinator: RunningCoordinator;
let client: ReturnType<typeof openGrpcClient>;

/** Makes the directory of a new content the current one in one step, as the kubelet does. */
function swap(version: string, text: string): void {
  mkdirSync(join(dir, version));
  writeFileSync(join(dir, version, "c.toml"), text);
  symlinkSync(version, join(dir, "..data_tmp"));
  renameSync(join(dir, "..data_tmp"), join(dir, "..data"));
}

const isLetIn = async (id: string): Promise<boolean> => {
  const metadata = { authorization: `Bearer sk-watch-${id}-0123456789` };
  return (await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema), metadata)).end.code === 0;
};
const faultyReadings = (): number => coordinator.log().match(/is faulty: nothing changes/g)?.length ?? 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-config-watch-"));
  swap("..1", entry("one"));
  symlinkSync(join("..data", "c.toml"), join(dir, "c.toml"));
  coordinator = await startCoordinatorProcess({ flags: ["--config", join(dir, "c.toml")] });
  client = openGrpcClient(coordinator.target);
});
afterAll(async () => {
  client?.close();
  await coordinator?.stop();
  rmSync(dir, { recursive: true, force: true });
});

it("a ConfigMap with another key is in force without a signal; a faulty one changes nothing and is told once; the next one counts", async () => {
  expect([await isLetIn("one"), await isLetIn("two")]).toEqual([true, false]);
  swap("..2", entry("one") + entry("two"));
  await expect.poll(() => isLetIn("two"), { timeout: 30_000 }).toBe(true);
  expect(await isLetIn("one")).toBe(true);
  swap("..3", `${entry("two")}[session]\nheartbeat_interval_seconds = 0\n`);
  await expect.poll(faultyReadings, { timeout: 30_000 }).toBe(1);
  expect(await isLetIn("one")).toBe(true);
  swap("..4", entry("two"));
  await expect.poll(() => isLetIn("one"), { timeout: 30_000 }).toBe(false);
  expect(await isLetIn("two")).toBe(true);
  expect(faultyReadings()).toBe(1);
  expect(coordinator.log()).not.toContain("sk-watch-");
});
