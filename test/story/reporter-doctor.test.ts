import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { examineReporter, type ReporterTarget } from "../../src/cli/reporter-checks.js";
import { systemClock } from "../../src/platform/clock.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { startScriptedCoordinator } from "../support/scripted-coordinator.js";
import { freePort } from "../support/server-process.js";
import { listen } from "../support/socket-relay.js";

let coordinator: RunningCoordinator;
beforeAll(async () => {
  coordinator = await startCoordinatorProcess();
});
afterAll(() => coordinator?.stop());

const examine = async (target: Partial<ReporterTarget>) => {
  const whole = {
    mcpConfig: undefined,
    coordinatorUrl: coordinator.webUrl,
    grpcTarget: coordinator.target,
    mcpId: undefined,
    key: undefined,
    holdMs: 0,
    tls: {},
    ...target,
  };
  return new Map((await examineReporter(systemClock, whole)).map((check) => [check.name, check]));
};

test("a way that works passes every check", async () => {
  const checks = await examine({ holdMs: 100 });
  expect([...checks.values()].filter(({ kind }) => kind === "failed")).toEqual([]);
  expect(["dns", "http and key", "clock skew", "version", "grpc", "idle cut-off"].map((name) => checks.get(name)?.kind)).toEqual(
    Array(6).fill("passed"),
  );
  expect(checks.get("version")?.finding).toContain("compatible");
  expect(checks.get("transport")).toMatchObject({ kind: "passed", finding: "auto would use grpc: the best of grpc, http" });
});

test("something that cuts an idle stream is found, though the stream is back at once", async () => {
  const cutter = await startScriptedCoordinator((call, frame) => {
    if (frame === undefined) return call.end();
    if (frame.case !== "hello") return;
    call.send({ case: "welcome", value: {} });
    if (call.index === 0) setTimeout(() => call.fail(status.UNAVAILABLE, "idle for too long"), 100);
  });
  try {
    const checks = await examine({ grpcTarget: cutter.target, holdMs: 2_000 });
    expect(checks.get("idle cut-off")).toMatchObject({
      kind: "failed",
      finding: expect.stringMatching(/^the stream was cut after \d+\.\d s$/),
      nextStep: expect.stringContaining("idle for a minute"),
    });
  } finally {
    cutter.stop();
  }
});

test("an mcp_config.toml with ways through Redis and the shared table only has those examined, each with its next step", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mcpc-doctor-"));
  const mcpConfig = join(folder, "mcp_config.toml");
  const addresses = 'redis_url = "redis://127.0.0.1:9"\ndatabase_url = "postgres://reporter@127.0.0.1:9/postgres"';
  writeFileSync(mcpConfig, `[mcp]\nmcp_id = "a"\n[interaction_logging]\nenable_interaction_logging = true\n${addresses}\n`);
  const checks = await examine({ mcpConfig, coordinatorUrl: undefined, grpcTarget: undefined });
  expect(["http", "version", "grpc"].map((name) => checks.get(name)?.kind)).toEqual(Array(3).fill("skipped"));
  for (const name of ["redis", "database"])
    expect(checks.get(name)).toMatchObject({
      kind: "failed",
      finding: expect.stringContaining("ECONNREFUSED"),
      nextStep: expect.any(String),
    });
  expect(checks.get("transport")).toMatchObject({ kind: "failed", finding: expect.stringContaining("none of redis, database is up") });
  rmSync(folder, { recursive: true, force: true });
});

test("an HTTP/1 proxy in the way of gRPC, a port where nobody is, and a host that is not known each have their next step", async () => {
  const proxy = createServer((_, response) => void response.writeHead(400).end());
  const port = await listen(proxy);
  const behind = await examine({ grpcTarget: `127.0.0.1:${port}` });
  expect(behind.get("grpc")).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("passes HTTP/2 on") });
  expect(behind.get("transport")?.finding).toBe("auto would use http: grpc would be better, and is not up");
  const wrongServer = await examine({ coordinatorUrl: `http://127.0.0.1:${port}` });
  expect(wrongServer.get("http and key")).toMatchObject({ kind: "failed", finding: expect.stringContaining("no coordinator") });
  proxy.close();
  const nobody = await examine({ coordinatorUrl: "http://127.0.0.1:9", grpcTarget: "127.0.0.1:9" });
  expect(nobody.get("http and key")).toMatchObject({ kind: "failed", finding: expect.stringContaining("cannot be reached") });
  const unknown = await examine({ coordinatorUrl: "http://no-such-host.invalid" });
  expect(unknown.get("dns")).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("correct the host") });
});

test("the command tells what is wrong with the way to a coordinator that is not there, and exits with 1", async () => {
  const [web, grpc] = [await freePort(), await freePort()];

  const ended = await runCli(["doctor", "--coordinator-url", `http://127.0.0.1:${web}`, "--grpc-target", `127.0.0.1:${grpc}`, "--json"]);

  expect(ended).toMatchObject({ code: 1 });
  const { checks } = JSON.parse(ended.stdout) as { readonly checks: readonly { readonly name: string; readonly kind: string }[] };
  expect(checks).toContainEqual(expect.objectContaining({ name: "http and key", kind: "failed" }));
  expect(checks).toContainEqual(expect.objectContaining({ name: "grpc", kind: "failed" }));
});

test("a key that is bound to an MCP passes with the name of that MCP, and not with another", async () => {
  const key = "sk-mcp-of-ocr-0123456789abcdef";
  const guarded = await startCoordinatorProcess({ config: `[[auth.keys]]\nid = "ocr"\nmcp_id = "ocr_001"\nkey = "${key}"\n` });
  const way = ["doctor", "--coordinator-url", guarded.webUrl, "--grpc-target", guarded.target, "--json"];
  try {
    expect(await runCli([...way, "--mcp-id", "ocr_001"], { MCPC_KEY: key })).toMatchObject({ code: 0 });
    expect(await runCli([...way, "--mcp-id", "ocr_002"], { MCPC_KEY: key })).toMatchObject({ code: 1 });
  } finally {
    await guarded.stop();
  }
});
