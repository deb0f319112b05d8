import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { LeaseState, RegistrationSource } from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import type { ClientMcpConfig } from "../../src/client/wire/control.js";
import { shareOf } from "../../src/interaction/collect.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { findGrpcurl, runGrpcurl } from "../support/grpcurl.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { RegistryClient } from "../support/registry-client.js";

/** As the registration protocol of the documents shows it. */
const documented = {
  name: "ocr_workflow_mcp",
  version: "1.0.0",
  type: "workflow",
  capabilities: ["ocr_processing", "document_analysis"],
  supportedFormats: ["image/jpeg", "image/png", "application/pdf"],
  resourceRequirements: { minMemory: "1GB", minCpu: "2 cores", gpuRequired: false },
  endpoints: { healthCheck: "/health", process: "/process", status: "/status" },
};

/** Interactions by whether a ratio of one half keeps their progress. */
const [keptId, droppedId] = [true, false].map((isKept) => {
  for (let i = 0; ; i++) if (shareOf(`i-${i}`) < 0.5 === isKept) return `i-${i}`;
}) as [string, string];

describe("a registry", () => {
  let coordinator: RunningCoordinator;
  let registry: RegistryClient;
  beforeAll(async () => {
    coordinator = await startCoordinatorProcess({
      config: "[registry]\nheartbeat_interval_seconds = 1\nsuspect_misses = 4\ndead_misses = 8\n",
    });
    registry = new RegistryClient(coordinator.target);
  });
  afterAll(async () => {
    registry?.[Symbol.dispose]();
    await coordinator?.stop();
  });

  it("takes an MCP through the four steps of the documents: it registers, is configured, beats, gets its rules, and reports", async () => {
    // 2: registration, with an id and what to do.
    const registered = await registry.call("registerMcp", documented);
    expect(registered).toMatchObject({
      success: true,
      created: true,
      mcpId: "ocr_workflow_mcp_001",
      coordinatorConfig: {
        interactionLogEndpoint: `${coordinator.webUrl}/api/v2/interactions`,
        heartbeatInterval: 1,
        dataReportInterval: 10,
        apiKey: "",
      },
      routingConfig: { priority: 1, weight: 100, maxConcurrentRequests: 10, draining: false },
    });
    const { mcpId } = registered;
    // What it said of itself is there for whoever asks, word for word.
    expect((await registry.call("getMcp", { mcpId })).mcp).toMatchObject(documented);
    // 3: a stream, which brings the configuration and keeps the lease.
    const client = openGrpcClient(coordinator.target);
    const stream = new RawStream(client);
    stream.send({
      case: "hello",
      value: { mcpId, producerId: "ocr-process", instanceVersion: "1.0.0", capabilities: [Capability.MCP_CONFIG] },
    });
    await stream.first("welcome");
    const first = (await stream.first("mcpConfigUpdate")).value;
    expect(first.config).toMatchObject({
      version: 1n,
      routing: { weight: 100 },
      collectionRules: { progressSampleRatio: 1, dropFields: [] },
    });
    stream.send({ case: "mcpConfigAck", value: { nonce: first.nonce, version: 1n, status: ApplyStatus.APPLIED } });
    // 4: collection rules and privacy, pushed and acked.
    const rules = { progressSampleRatio: 0.5, dropFields: ["start.user_id", "labels"] };
    const updated = await registry.call("updateMcpConfig", { mcpId, expectedVersion: 1n, collectionRules: rules });
    expect(updated.config).toMatchObject({ version: 2n, collectionRules: { dropFields: ["labels", "start.user_id"] } });
    const second = await stream.until(
      (frames) =>
        frames.flatMap((frame) => (frame.case === "mcpConfigUpdate" && frame.value.config?.version === 2n ? [frame.value] : []))[0],
    );
    await expect.poll(() => driftOf(registry, mcpId)).toEqual(["ocr-process 1 drifts"]);
    stream.send({ case: "mcpConfigAck", value: { nonce: second.nonce, version: 2n, status: ApplyStatus.APPLIED } });
    await expect.poll(() => driftOf(registry, mcpId)).toEqual(["ocr-process 2"]);
    // It reports: progress of one interaction is kept, that of another is not, and the acks say so.
    for (const interactionId of [keptId, droppedId]) {
      const start = { requestType: "ocr_processing", userId: "user_12345" };
      stream.send({
        case: "event",
        value: makeEvent({ mcpId: "", interactionId, labels: { region: "us" }, detail: { case: "start", value: start } }),
      });
      stream.send({
        case: "event",
        value: makeEvent({ mcpId: "", interactionId, detail: { case: "progress", value: { fraction: 0.5 } } }),
      });
      stream.send({ case: "event", value: makeEvent({ mcpId: "", interactionId, detail: { case: "complete", value: {} } }) });
    }
    const statuses = (await stream.untilAcks(6)).map((ack) => `${ack.interactionId} ${EventStatus[ack.status]} ${ack.retryable}`).sort();
    const [kept, dropped] = [`${keptId} STORED false`, `${droppedId} STORED false`];
    expect(statuses).toEqual([kept, kept, kept, `${droppedId} NOT_COLLECTED false`, dropped, dropped].sort());
    const events = await storedEvents(coordinator, mcpId, droppedId);
    expect(events.map((event) => event.detail.case).sort()).toEqual(["complete", "start"]);
    expect(events.find((event) => event.detail.case === "start")).toMatchObject({
      labels: {},
      detail: { value: { requestType: "ocr_processing", userId: "" } },
    });
    expect((await registry.call("getMcp", { mcpId })).mcp?.leaseState).toBe(LeaseState.ALIVE);
    // The end.
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
    client.close();
    await registry.call("deregisterMcp", { mcpId, reason: "end of shift" });
    const { mcp, history } = await registry.call("getMcp", { mcpId, includeHistory: true });
    expect(mcp?.leaseState).toBe(LeaseState.DEREGISTERED);
    expect(history.map(({ kind }) => kind)).toEqual(["deregistered", "configured", "registered"]);
    expect(history[0]?.detail).toBe("end of shift");
  });

  it("is idempotent on name, version and instance, and never gives an id twice", async () => {
    const first = await registry.call("registerMcp", { ...documented, name: "idem" });
    const again = await registry.call("registerMcp", { ...documented, name: "idem", capabilities: ["other"] });
    expect([first.mcpId, again.mcpId, again.created]).toEqual(["idem_001", "idem_001", false]);
    expect((await registry.call("getMcp", { mcpId: "idem_001" })).mcp?.capabilities).toEqual(["other"]);
    const others = [{ instance: "b" }, { version: "1.0.1" }, { instance: "b" }];
    const ids: string[] = [];
    for (const other of others) ids.push((await registry.call("registerMcp", { ...documented, name: "idem", ...other })).mcpId);
    expect(ids).toEqual(["idem_002", "idem_003", "idem_002"]);
    await registry.call("deregisterMcp", { mcpId: "idem_003" });
    await registry.call("deregisterMcp", { mcpId: "idem_003" });
    expect((await registry.call("registerMcp", { ...documented, name: "idem", version: "1.0.1" })).mcpId).toBe("idem_004");
    expect(await registry.refused("heartbeat", { mcpId: "idem_003" })).toMatchObject({ code: 9, reason: "MCP_DEREGISTERED" });
    expect(await registry.refused("heartbeat", { mcpId: "idem_999" })).toMatchObject({ code: 5, reason: "MCP_NOT_FOUND" });
  });

  it("lets a lease that nobody renews become suspect and then dead, refuses its heartbeats, and gives it back to whoever registers again", async () => {
    const { mcpId } = await registry.call("registerMcp", { ...documented, name: "quiet" });
    const watch = registry.watch({ filter: { name: "quiet" } });
    const { ALIVE, SUSPECT, DEAD } = LeaseState;
    await watch.until(() => watch.seen.includes(`${mcpId} ${ALIVE}`));
    expect((await registry.call("heartbeat", { mcpId, configVersion: 1n })).leaseState).toBe(ALIVE);
    await watch.until(() => watch.seen.includes(`${mcpId} ${DEAD}`));
    expect(watch.seen).toEqual([ALIVE, SUSPECT, DEAD].map((state) => `${mcpId} ${state}`));
    expect(await registry.refused("heartbeat", { mcpId })).toMatchObject({ code: 9, reason: "LEASE_DEAD" });
    expect((await registry.call("listMcps", { filter: { name: "quiet", leaseState: DEAD } })).mcps).toHaveLength(1);
    expect(await registry.call("registerMcp", { ...documented, name: "quiet" })).toMatchObject({ mcpId, created: false });
    await watch.until(() => watch.seen.length === 4);
    expect(watch.seen[3]).toBe(`${mcpId} ${ALIVE}`);
    watch.cancel();
    const { history } = await registry.call("getMcp", { mcpId, includeHistory: true });
    expect(history.map(({ kind }) => kind)).toEqual(["alive", "dead", "suspect", "registered"]);
    expect(history[2]?.detail).toMatch(/^was alive: no sign of life for \d+ s$/);
  });

  it("lets a watcher go on where it was, and tells one that is too far behind to start again", async () => {
    const watch = registry.watch({ filter: { name: "seen" } });
    await watch.until((messages) => messages.length > 0);
    const { mcpId } = await registry.call("registerMcp", { ...documented, name: "seen" });
    await watch.until(() => watch.seen.length > 0);
    const revision = watch.messages.at(-1)?.revision ?? 0n;
    expect(revision).toBeGreaterThan(0n);
    watch.cancel();
    await registry.call("deregisterMcp", { mcpId });
    const resumed = registry.watch({ filter: { name: "seen" }, afterRevision: revision });
    await resumed.until(() => resumed.seen.includes(`${mcpId} ${LeaseState.DEREGISTERED}`));
    resumed.cancel();
    const beyond = registry.watch({ afterRevision: 1_000_000_000n });
    expect(await beyond.ended).toMatchObject({ code: 11 });
  });

  it("registers whoever says Hello with an id of its own, and keeps its lease while the stream is open", async () => {
    const client = openGrpcClient(coordinator.target);
    const stream = new RawStream(client);
    stream.send({ case: "hello", value: { mcpId: "stranger", instanceVersion: "2.5.0", capabilities: [Capability.MCP_CONFIG] } });
    const pushed = (await stream.first("mcpConfigUpdate")).value;
    expect(pushed.config?.version).toBe(1n);
    stream.send({ case: "mcpConfigAck", value: { nonce: pushed.nonce, version: 0n, status: ApplyStatus.REJECTED, detail: "not mine" } });
    stream.send({ case: "mcpConfigAck", value: { nonce: "m99", version: 7n, status: ApplyStatus.APPLIED } });
    expect((await stream.first("serverNotice")).value.code).toBe("ACK_IGNORED");
    await expect.poll(() => driftOf(registry, "stranger")).toEqual([expect.stringMatching(/ 0 drifts not mine$/)]);
    const quiet = await registry.call("registerMcp", { ...documented, name: "beside" });
    const watch = registry.watch({ filter: { name: "beside", leaseState: LeaseState.DEAD } });
    await watch.until(() => watch.seen.length > 0); // one that does nothing is dead by now
    watch.cancel();
    expect((await registry.call("getMcp", { mcpId: quiet.mcpId })).mcp?.leaseState).toBe(LeaseState.DEAD);
    const { mcp } = await registry.call("getMcp", { mcpId: "stranger" });
    expect(mcp).toMatchObject({ name: "stranger", version: "2.5.0", source: RegistrationSource.HELLO, leaseState: LeaseState.ALIVE });
    stream.halfClose();
    await stream.ended;
    client.close();
  });

  it("keeps an MCP deregistered whose Hello was not written down yet, and takes it back at its next Hello", async () => {
    const client = openGrpcClient(coordinator.target);
    const greet = async (mcpId: string): Promise<RawStream> => {
      const stream = new RawStream(client);
      stream.send({ case: "hello", value: { mcpId, producerId: `${mcpId}-p` } });
      await stream.first("welcome");
      return stream;
    };
    /** Greetings are written down in the order in which they came: once this one is, those before it are. */
    const writeDown = async (mcpId: string): Promise<RawStream> => {
      const stream = await greet(mcpId);
      await expect.poll(async () => (await registry.call("listMcps", {})).mcps.map((mcp) => mcp.mcpId)).toContain(mcpId);
      return stream;
    };
    const streams: RawStream[] = [];
    for (const turn of [1, 2, 3]) {
      const { mcpId } = await registry.call("registerMcp", { name: "hasty", version: "1.0.0", type: "workflow", instance: String(turn) });
      streams.push(await greet(mcpId));
      await registry.call("deregisterMcp", { mcpId, reason: "end of shift" });
      streams.push(await writeDown(`after-hasty-${turn}`));
      expect((await registry.call("getMcp", { mcpId })).mcp?.leaseState).toBe(LeaseState.DEREGISTERED);
      streams.push(await greet(mcpId), await writeDown(`again-hasty-${turn}`));
      expect((await registry.call("getMcp", { mcpId })).mcp?.leaseState).toBe(LeaseState.ALIVE);
    }
    for (const stream of streams) stream.halfClose();
    client.close();
  });

  it("gives our client the configuration, takes its answer, and settles what is not collected as done", async () => {
    const { mcpId } = await registry.call("registerMcp", { ...documented, name: "sdk" });
    await registry.call("updateMcpConfig", { mcpId, expectedVersion: 1n, collectionRules: { progressSampleRatio: 0 } });
    const configs: ClientMcpConfig[] = [];
    const verdicts: string[] = [];
    const session = createStreamSession({
      endpoint: { target: coordinator.target, key: undefined },
      mcpId,
      producerId: "sdk-process",
      onMcpConfig: (config) => {
        configs.push(config);
        return config.weight > 100 ? "too heavy for me" : undefined;
      },
      onSettled: ({ verdict }) => verdicts.push(verdict),
    });
    session.report(makeEvent({ mcpId: "", interactionId: "s-1" }));
    session.report(makeEvent({ mcpId: "", interactionId: "s-1", detail: { case: "progress", value: { fraction: 0.1 } } }));
    await expect.poll(() => verdicts.toSorted()).toEqual(["not_collected", "stored"]);
    expect(session.counters).toMatchObject({ stored: 1, notCollected: 1, rejected: 0 });
    expect(session.unresolvedCount).toBe(0);
    await expect.poll(() => driftOf(registry, mcpId)).toEqual(["sdk-process 2"]);
    await registry.call("updateMcpConfig", { mcpId, expectedVersion: 2n, weight: 200 });
    await expect.poll(() => driftOf(registry, mcpId)).toEqual(["sdk-process 2 drifts too heavy for me"]);
    expect(configs.map(({ version, weight, progressSampleRatio }) => [version, weight, progressSampleRatio])).toEqual([
      [2, 100, 0],
      [3, 200, 0],
    ]);
    await session.close();
  });

  it("pages through lists by mcp_id, filtered, and refuses tokens of other lists", async () => {
    for (let i = 0; i < 5; i++)
      await registry.call("registerMcp", { ...documented, name: "page", instance: `${i}`, capabilities: ["paging"] });
    const ids: string[] = [];
    let pageToken = "";
    do {
      const page = await registry.call("listMcps", { filter: { capability: "paging", format: "image/png" }, pageSize: 2, pageToken });
      ids.push(...page.mcps.map(({ mcpId }) => mcpId));
      pageToken = page.nextPageToken;
      if (ids.length === 2) {
        expect(await registry.refused("listMcps", { filter: { capability: "other" }, pageToken })).toMatchObject({
          code: 3,
          reason: "PAGE_TOKEN_INVALID",
          fields: ["page_token"],
        });
      }
    } while (pageToken !== "");
    expect(ids).toEqual(["page_001", "page_002", "page_003", "page_004", "page_005"]);
    expect((await registry.call("listMcps", { filter: { capability: "paging", type: "other" } })).mcps).toEqual([]);
  });

  it.each([
    ["updateMcpConfig", { mcpId: "idem_001", expectedVersion: 1n, weight: -1 }, ["weight"]],
    [
      "updateMcpConfig",
      { mcpId: "idem_001", expectedVersion: 1n, weight: 10_001, priority: -5, maxConcurrentRequests: 0 },
      ["priority", "weight", "max_concurrent_requests"],
    ],
    ["updateMcpConfig", { mcpId: "idem_001", weight: 5 }, ["expected_version"]],
    [
      "updateMcpConfig",
      {
        mcpId: "idem_001",
        expectedVersion: 1n,
        collectionRules: { progressSampleRatio: Number.NaN, dropFields: ["start.request_type", "labels", "labels"] },
      },
      ["collection_rules.progress_sample_ratio", "collection_rules.drop_fields[0]", "collection_rules.drop_fields[2]"],
    ],
    ["registerMcp", { ...documented, version: "one", capabilities: ["a", "a"] }, ["version", "capabilities[1]"]],
    ["registerMcp", { ...documented, resourceRequirements: { minMemory: "1 heap" } }, ["resource_requirements.min_memory"]],
    ["registerMcp", { ...documented, endpoints: { healthCheck: "gopher://x" } }, ["endpoints.health_check"]],
    ["heartbeat", {}, ["mcp_id"]],
    ["getMcp", { mcpId: "a\0b" }, ["mcp_id"]],
    ["listMcps", { pageSize: 1_001 }, ["page_size"]],
    ["listMcps", { filter: { leaseState: 99 } }, ["filter.lease_state"]],
  ] as const)("refuses a %s with faults, naming the fields: case %#", async (name, request, fields) => {
    expect(await registry.refused(name, request as never)).toMatchObject({ code: 3, reason: "FIELD_VIOLATION", fields });
  });

  it("puts the second of two changes of one version off, and says which is in force", async () => {
    const { mcpId } = await registry.call("registerMcp", { ...documented, name: "rivals" });
    const changes = [1, 2, 3].map((priority) =>
      registry.call("updateMcpConfig", { mcpId, expectedVersion: 1n, priority: priority + 1 }).then(
        () => "changed",
        (thrown: Error) => thrown.message.slice(0, 60),
      ),
    );
    expect((await Promise.all(changes)).filter((outcome) => outcome === "changed")).toHaveLength(1);
    expect(await registry.refused("updateMcpConfig", { mcpId, expectedVersion: 1n, priority: 7 })).toMatchObject({
      code: 9,
      reason: "CONFIG_VERSION_MISMATCH",
      metadata: { version: "2" },
    });
  });

  it("lists and watches registrations that are as large as they may be: pages and messages end before they are too long", async () => {
    const names = (kind: string) => Array.from({ length: 64 }, (_, i) => `${kind}-${i}-`.padEnd(256, "x"));
    const large = { ...documented, name: "large", capabilities: names("c"), supportedFormats: names("f") };
    const count = 130;
    for (let i = 0; i < count; i++) await registry.call("registerMcp", { ...large, instance: `${i}` });
    const filter = { capability: large.capabilities[0] ?? "" };
    const listed: string[] = [];
    let pageToken = "";
    do {
      const page = await registry.call("listMcps", { filter, pageSize: 1_000, pageToken });
      listed.push(...page.mcps.map(({ mcpId }) => mcpId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    const all = Array.from({ length: count }, (_, i) => `large_${String(i + 1).padStart(3, "0")}`);
    expect(listed).toEqual(all);
    const watch = registry.watch({ filter });
    await Promise.race([watch.until((messages) => messages.some(({ revision }) => revision > 0n)), watch.ended]);
    // What changes after the list has ended, as the lease of one that says nothing does, comes behind it.
    const end = watch.messages.findIndex(({ revision }) => revision > 0n);
    const watched = watch.messages.slice(0, end + 1).flatMap(({ mcps }) => mcps.map(({ mcpId }) => mcpId));
    expect(watched.sort()).toEqual(all);
    watch.cancel();
  });

  it("answers Connect JSON on the web port as well", async () => {
    const response = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.RegistryService/RegisterMcp`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...documented, name: "by_json" }),
    });
    expect(await response.json()).toMatchObject({ success: true, mcpId: "by_json_001" });
  });
});

/** Who runs which version, as text. */
async function driftOf(registry: RegistryClient, mcpId: string): Promise<readonly string[]> {
  const { configStandings } = await registry.call("getMcp", { mcpId });
  return configStandings.map(({ producerId, version, drifts, detail }) =>
    `${producerId} ${version}${drifts ? " drifts" : ""} ${detail}`.trim(),
  );
}

async function storedEvents(coordinator: RunningCoordinator, mcpId: string, interactionId: string): Promise<readonly StoredEventJson[]> {
  const response = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.InteractionService/GetInteraction`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ mcpId, interactionId, includeEvents: true }),
  });
  const { events } = (await response.json()) as { events: Record<string, unknown>[] };
  return events.map((event) => {
    const kind = ["start", "progress", "complete", "error"].find((name) => name in event) ?? "";
    const value = { userId: "", ...(event[kind] as object) };
    return { labels: (event.labels as Record<string, string> | undefined) ?? {}, detail: { case: kind, value } };
  });
}

type StoredEventJson = { readonly labels: Record<string, string>; readonly detail: { readonly case: string; readonly value: object } };

describe("the lines of docs/registry.md", async () => {
  const tool = await findGrpcurl();
  const lines = readFileSync(new URL("../../docs/registry.md", import.meta.url), "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("grpcurl "));

  it.skipIf(tool.kind === "missing")("do what they say, one after the other", async () => {
    const coordinator = await startCoordinatorProcess();
    const outputs: string[] = [];
    for (const line of lines) {
      const args = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "").slice(1);
      const { stdout, stderr } = await runGrpcurl(args.map((arg) => (arg === "localhost:50051" ? coordinator.target : arg)));
      expect(stderr).not.toMatch(/InvalidArgument|Unimplemented|Internal|parse|Usage/);
      outputs.push(stdout);
    }
    await coordinator.stop();
    expect(outputs).toHaveLength(6);
    expect(outputs[0]).toContain('"mcpId": "ocr_workflow_mcp_001"');
    expect(outputs[1]).toContain("LEASE_STATE_ALIVE");
    expect(outputs[2]).toContain('"version": "2"');
    for (const output of outputs.slice(3)) expect(output).toContain("ocr_workflow_mcp_001");
    expect(outputs[4]).toContain('"kind": "configured"');
  });
});
