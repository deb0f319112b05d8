import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { createConnection } from "../../src/client/connect.js";
import type { Reporter, ReporterOptions } from "../../src/client/index.js";
import { createReporter } from "../../src/client/index.js";
import { openSpool } from "../../src/client/spool/open-spool.js";
import { createGrpcTransport } from "../../src/client/transports/grpc.js";
import { createHttpTransport } from "../../src/client/transports/http.js";
import type { OutgoingEvent, Settlement } from "../../src/client/transports/transport.js";
import { lookUp } from "../../src/client/verify.js";
import { type EventInit, encodeEvent } from "../../src/client/wire/frames.js";
import { systemClock } from "../../src/platform/clock.js";
import { systemRng } from "../../src/platform/rng.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { outputOf } from "../support/child-output.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { freshName } from "../support/new-event.js";
import { type ScriptedCall, startScriptedCoordinator } from "../support/scripted-coordinator.js";
import { listen } from "../support/socket-relay.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const opened: { reporters: Reporter[]; ends: (() => unknown)[] } = { reporters: [], ends: [] };
let coordinator: RunningCoordinator;

beforeAll(async () => {
  coordinator = await startCoordinatorProcess();
});
afterAll(() => coordinator?.stop());
afterEach(async () => {
  for (const reporter of opened.reporters.splice(0)) await reporter.close();
  for (const end of opened.ends.splice(0)) await end();
});

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-reporter-"));
  opened.ends.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A reporter of an MCP of its own at the coordinator of this file. */
function start(options: Partial<ReporterOptions> = {}): Reporter {
  const reporter = createReporter({
    ...{ coordinatorUrl: `${coordinator.webUrl}/`, grpcTarget: coordinator.target, mcpId: freshName("ocr") },
    ...{ localCachePath: join(scratch(), "spool"), retryDelay: 0.1, closeMaxMs: 1_000, ...options },
  });
  opened.reporters.push(reporter);
  return reporter;
}

/** How many events are stored of each interaction, and how many the merged interaction counts. */
async function storedOf(mcpId: string, interactionIds: readonly string[]): Promise<readonly string[]> {
  const connection = createConnection({ target: coordinator.target, key: undefined });
  const { tallies } = await lookUp(connection, { mcpId, events: [], interactionIds }, 60_000);
  connection.close();
  return interactionIds.map((id) => `${tallies?.get(id)?.storedEvents} ${tallies?.get(id)?.mergedEvents}`);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("the reporter's unit cases of the guide", () => {
  test("data reporter success: what is reported is stored, over the best transport there is", async () => {
    const mcpId = freshName("ocr");
    const reporter = start({ mcpId });
    expect(reporter.reportStart("test_123", { requestType: "test" })).toBe(true);
    expect(reporter.reportComplete("test_123", { qualityScore: 0.9 })).toBe(true);
    expect(await reporter.flush()).toBe(true);
    expect(await storedOf(mcpId, ["test_123"])).toEqual(["2 2"]);
    await until(() => reporter.state.transport === "grpc"); // HTTP may have been up first
    expect(reporter.state).toMatchObject({ transport: "grpc", counters: { reported: 2, stored: 2 }, spool: { kind: "disk", events: 0 } });
  });

  test("data reporter failure and cache: with no coordinator nothing waits and nothing throws, and a later reporter brings it over", async () => {
    const mcpId = freshName("ocr");
    const localCachePath = join(scratch(), "spool");
    const away = start({ mcpId, localCachePath, coordinatorUrl: "http://127.0.0.1:9", grpcTarget: "127.0.0.1:9", closeMaxMs: 0 });
    for (let index = 0; index < 1_000; index += 1) expect(away.reportStart(`i-${index}`)).toBe(true);
    await away.durable();
    expect(await away.flush(0)).toBe(false);
    await until(() => away.state.transports.every(({ state }) => state === "down"));
    expect(away.state.transports.map(({ name }) => name)).toEqual(["grpc", "http"]);
    expect(away.state).toMatchObject({ counters: { reported: 1_000, stored: 0, setAside: 0 }, spool: { events: 1_000 } });
    await away.close();
    const back = start({ mcpId, localCachePath });
    expect(await back.flush()).toBe(true);
    expect(back.state.counters).toMatchObject({ reported: 0, stored: 1_000 });
    expect(await storedOf(mcpId, ["i-0", "i-999"])).toEqual(["1 1", "1 1"]);
  });

  test("disabled reporting: every call says true, and no file and no connection is made", async () => {
    const dir = scratch();
    let connections = 0;
    const server = createServer();
    server.on("connection", () => {
      connections += 1;
    });
    const port = await listen(server);
    opened.ends.push(() => server.close());
    const target = `127.0.0.1:${port}`;
    const reporter = start({
      enableReporting: false,
      localCachePath: join(dir, "spool"),
      coordinatorUrl: `http://${target}`,
      grpcTarget: target,
    });
    expect(reporter.reportStart("test_123", { requestType: "test" })).toBe(true);
    expect(reporter.withInteraction(() => 42)).toBe(42);
    expect(await reporter.flush()).toBe(true);
    await reporter.close();
    expect(readdirSync(dir)).toEqual([]);
    expect(connections).toBe(0);
    expect(reporter.state).toMatchObject({ kind: "off", counters: { reported: 0 } });
  });

  /** An MCP whose business is its own: reporting is one line in it. */
  const processRequest = (reporter: Reporter, text: string) =>
    reporter.withInteraction({ requestType: "upper" }, async (interaction) => {
      interaction.reportProgress({ fraction: 0.5 });
      if (text === "") throw new RangeError("nothing to do");
      return text.toUpperCase();
    });

  test("MCP with reporting enabled: results and errors are its own, and start, progress and outcome are stored", async () => {
    const mcpId = freshName("ocr");
    const resolved: string[] = [];
    const reporter = start({ mcpId, onResolved: ({ outcome }) => resolved.push(outcome) });
    expect(await processRequest(reporter, "text")).toBe("TEXT");
    await expect(processRequest(reporter, "")).rejects.toThrow(new RangeError("nothing to do"));
    expect(await reporter.flush()).toBe(true);
    expect(resolved).toEqual(Array.from({ length: 6 }, () => "stored"));
  });

  test("MCP with reporting disabled: results and errors are its own", async () => {
    const reporter = start({ enableReporting: false });
    expect(await processRequest(reporter, "text")).toBe("TEXT");
    await expect(processRequest(reporter, "")).rejects.toThrow(RangeError);
  });
});

test("a report that breaks a rule is refused at once, named and counted, and its neighbours are stored", async () => {
  const reporter = start();
  expect(reporter.reportComplete("a", { qualityScore: 2 })).toBe(false);
  expect(reporter.reportStart("")).toBe(false);
  expect(reporter.reportStart("b")).toBe(true);
  expect(await reporter.flush()).toBe(true);
  expect(reporter.state.counters).toMatchObject({ reported: 1, refused: 2, stored: 1 });
  expect(reporter.state.troubles.flatMap(({ faults }) => faults.map(({ field }) => field))).toEqual([
    "complete.quality_score",
    "interaction_id",
  ]);
});

test("with options that cannot work it says so and is out of the way", async () => {
  const reporter = start({ mcpId: "", coordinatorUrl: "nowhere", maxRetries: -1 });
  expect(reporter.withInteraction(() => 1)).toBe(1);
  expect(reporter.state).toMatchObject({ kind: "unusable", counters: { refused: 2 } });
  expect(reporter.state.troubles[0]?.faults.map(({ field }) => field)).toEqual(["maxRetries", "mcpId", "coordinatorUrl"]);
});

test("a second reporter on the same spool goes on in memory, and says what to do", async () => {
  const localCachePath = join(scratch(), "spool");
  const first = start({ localCachePath });
  first.reportStart("a");
  await first.durable();
  const second = start({ localCachePath });
  second.reportStart("b");
  expect(await second.flush()).toBe(true);
  expect(second.state.spool.kind).toBe("memory");
  expect(second.state.troubles[0]).toMatchObject({ kind: "spool", message: expect.stringContaining("localCachePath of its own") });
});

test("a spool of a newer version is left alone: the reporter goes on in memory and names both formats", async () => {
  const localCachePath = join(scratch(), "spool");
  await openSpool({ directory: localCachePath }).close();
  writeFileSync(join(localCachePath, "format"), "mcp-coordinator spool 7\n");
  const reporter = start({ localCachePath });
  reporter.reportStart("a");
  expect(await reporter.flush()).toBe(true);
  expect(reporter.state).toMatchObject({ spool: { kind: "memory" }, counters: { stored: 1 } });
  expect(reporter.state.troubles[0]).toMatchObject({ kind: "spool", message: expect.stringMatching(/format.* 7/) });
  expect(readFileSync(join(localCachePath, "format"), "utf8")).toBe("mcp-coordinator spool 7\n");
});

test("a disk that is full under the spool costs no event: what it does not take is kept in memory, said, and sent with the rest", async () => {
  const proxy = await startTcpProxy(Number(coordinator.target.split(":")[1]));
  opened.ends.push(() => proxy[Symbol.asyncDispose]());
  proxy.set("close");
  const mcp = [process.execPath, "--import", "tsx", "test/support/full-disk-mcp.ts"].map((word) => JSON.stringify(word)).join(" ");
  const command = `ulimit -f 3000; exec ${mcp} http://127.0.0.1:9 127.0.0.1:${proxy.port} "${join(scratch(), "spool")}"`;
  const child = spawn("bash", ["-c", command], { stdio: ["ignore", "pipe", "pipe"] });
  opened.ends.push(() => child.kill("SIGKILL"));
  // The first line comes when the disk has refused: only then is there a way out.
  child.stdout.once("data", () => proxy.set("pass"));
  const { code, stdout } = await outputOf(child);
  expect([code, stdout.split("\n").length]).toEqual([0, 3]);
  const [full, end] = stdout.split("\n", 2).map((line) => JSON.parse(line));
  expect(full).toMatchObject({ hasRefused: true, late: 200, kind: "memory" });
  expect(full.events).toBe(full.reported);
  expect(end).toMatchObject({ isEmpty: true, unhandled: [], counters: { full: 0, refused: 0, setAside: 0 } });
  expect(end.counters.stored + end.counters.duplicate).toBe(full.reported);
  for (let first = 0; first < full.reported; first += 1_000) {
    const ids = Array.from({ length: Math.min(1_000, full.reported - first) }, (_, index) => `i-${first + index}`);
    expect(new Set(await storedOf("full-disk", ids))).toEqual(new Set(["1 1"]));
  }
});

test("the gRPC port goes away with events in flight: they go over HTTP, and back over gRPC when it has come back, and each is stored once", async () => {
  const proxy = await startTcpProxy(Number(coordinator.target.split(":")[1]));
  opened.ends.push(() => proxy[Symbol.asyncDispose]());
  const mcpId = freshName("ocr");
  const chosen: { readonly transport: string | undefined; readonly reason: string }[] = [];
  const reporter = start({
    mcpId,
    grpcTarget: `127.0.0.1:${proxy.port}`,
    onState: ({ transport, reason }) => {
      if (transport !== chosen.at(-1)?.transport) chosen.push({ transport, reason });
    },
  });
  let count = 0;
  const resolvedCount = () => reporter.state.counters.stored + reporter.state.counters.duplicate;
  /** At the pace of the machine: what waits is enough to be in flight, and no more than it works off soon. */
  const reportWhile = async (condition: () => boolean) => {
    while (condition()) {
      for (let burst = 0; burst < 20 && count - resolvedCount() < 2_000; burst += 1) reporter.reportStart(`i-${count++}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await reportWhile(() => reporter.state.counters.stored < 500);
  proxy.set("close");
  proxy.cut("reset");
  const cutAtMs = performance.now();
  await reportWhile(() => reporter.state.transport !== "http");
  const failoverMs = performance.now() - cutAtMs;
  const reportedAtFailover = count;
  await reportWhile(() => resolvedCount() < reportedAtFailover);
  proxy.set("pass");
  await reportWhile(() => reporter.state.transport !== "grpc");
  expect(await reporter.flush(60_000)).toBe(true);
  expect(
    chosen
      .filter(({ transport }) => transport !== undefined)
      .map(({ transport }) => transport)
      .slice(0, 3),
  ).toEqual(["grpc", "http", "grpc"]);
  expect(failoverMs).toBeLessThan(30_000);
  const { stored, duplicate, setAside } = reporter.state.counters;
  expect({ resolved: stored + duplicate, setAside }).toEqual({ resolved: count, setAside: 0 });
  for (let first = 0; first < count; first += 1_000) {
    const ids = Array.from({ length: Math.min(1_000, count - first) }, (_, index) => `i-${first + index}`);
    expect(new Set(await storedOf(mcpId, ids))).toEqual(new Set(["1 1"]));
  }
});

test("the same events by two transports at once are stored once each", async () => {
  const mcpId = freshName("ocr");
  const interactionIds = Array.from({ length: 1_000 }, (_, index) => `twice-${index}`);
  const outgoing: readonly OutgoingEvent[] = interactionIds.map((interactionId) => {
    const eventId = mintUuidV7();
    const event: EventInit = { eventId, mcpId, interactionId, occurredAt: { seconds: BigInt(Math.floor(Date.now() / 1000)) } };
    const whole: EventInit = { ...event, detail: { case: "start", value: {} } };
    return { eventId, event: whole, encoded: encodeEvent(whole) };
  });
  const settled: Record<"grpc" | "http", Settlement[]> = { grpc: [], http: [] };
  const listenTo = (name: "grpc" | "http") => ({ onSettled: (one: Settlement) => void settled[name].push(one), onChange: () => undefined });
  const common = { mcpId, maxRetries: 3, clock: systemClock, rng: systemRng };
  const grpc = createGrpcTransport({ ...common, endpoint: { target: coordinator.target, key: undefined } }, listenTo("grpc"));
  const http = createHttpTransport({ ...common, url: coordinator.webUrl, key: undefined, requestsPerSecond: 1_000 }, listenTo("http"));
  await Promise.all([grpc.probe(), http.probe()]);
  await until(() => grpc.health().state === "up");
  for (let first = 0; first < outgoing.length; first += 100) {
    const some = outgoing.slice(first, first + 100);
    expect([grpc.offer(some), http.offer(some)]).toEqual([100, 100]);
  }
  await until(() => settled.grpc.length + settled.http.length === 2_000);
  await Promise.all([grpc.stop(0), http.stop(0)]);
  const storedCount = [...settled.grpc, ...settled.http].filter(({ outcome }) => outcome === "stored").length;
  const duplicateCount = [...settled.grpc, ...settled.http].filter(({ outcome }) => outcome === "duplicate").length;
  expect({ storedCount, duplicateCount }).toEqual({ storedCount: 1_000, duplicateCount: 1_000 });
  expect(new Set(await storedOf(mcpId, interactionIds))).toEqual(new Set(["1 1"]));
});

test("what speaks HTTP/1 in the way of gRPC is named, and reports go over HTTP meanwhile", async () => {
  const proxy = createServer((_, response) => void response.writeHead(400, { "content-type": "text/plain" }).end("no"));
  const port = await listen(proxy);
  opened.ends.push(() => proxy.close());
  const reporter = start({ grpcTarget: `127.0.0.1:${port}` });
  reporter.reportStart("a");
  expect(await reporter.flush()).toBe(true);
  await until(() => reporter.state.transports[0]?.state === "down");
  expect(reporter.state.transport).toBe("http");
  expect(reporter.state.transports[0]?.why).toContain("does not speak HTTP/2");
});

function welcome(call: ScriptedCall): void {
  const flowControl = { version: 1n, maxUnackedEvents: 1_000, maxUnackedBytes: 1n << 20n };
  call.send({ case: "welcome", value: { flowControl, capabilities: [Capability.FLOW_CONTROL] } });
}

test("an event that ends every stream it is on is found and set aside, and the others are stored", async () => {
  const scripted = await startScriptedCoordinator((call, frame) => {
    if (frame?.case === "hello") welcome(call);
    if (frame === undefined) call.end();
    const events = frame?.case === "event" ? [frame.value] : frame?.case === "eventBatch" ? frame.value.events : [];
    if (events.some(({ interactionId }) => interactionId === "poison")) return call.fail(status.INVALID_ARGUMENT, "undecodable");
    for (const { sequence } of events) call.send({ case: "eventAck", value: { sequence, status: EventStatus.STORED } });
  });
  opened.ends.push(scripted.stop);
  const reporter = start({ transport: "grpc", grpcTarget: scripted.target });
  for (const id of ["a", "b", "poison", "c", "d"]) reporter.reportStart(id);
  expect(await reporter.flush(100_000)).toBe(true);
  expect(reporter.state.counters).toMatchObject({ stored: 4, setAside: 1 });
  await reporter.durable();
  expect(reporter.setAside.map(({ event, reason }) => `${event.interactionId} ${reason.split(":", 1)[0]}`)).toEqual(["poison POISON"]);
});

test("a coordinator that answers nonsense gets nothing forgotten", async () => {
  const scripted = await startScriptedCoordinator((call, frame) => {
    if (frame?.case === "hello") welcome(call);
    if (frame === undefined) return call.end();
    call.send({
      case: "eventAckBatch",
      value: { resolvedThroughSequence: 1n << 60n, ranges: [{ first: 1n << 50n, last: 1n << 55n, status: EventStatus.STORED }] },
    });
    call.send({ case: "eventAck", value: { sequence: 4_000n, status: EventStatus.STORED, eventId: "?" } });
    call.send({ case: "heartbeatAck", value: {} });
    call.send(undefined);
  });
  opened.ends.push(scripted.stop);
  const reporter = start({ transport: "grpc", grpcTarget: scripted.target });
  for (let index = 0; index < 100; index += 1) reporter.reportStart(`i-${index}`);
  await until(() => reporter.state.transport === "grpc");
  expect(await reporter.flush(500)).toBe(false);
  expect(reporter.state).toMatchObject({ counters: { stored: 0, setAside: 0 }, spool: { events: 100 } });
});
