import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LeaseState } from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";
import { RegistryClient, refusalOf } from "../support/registry-client.js";

const skip = postgresSkipReason();
const story = skip === undefined ? it : (name: string, _: () => Promise<void>) => it.skip(`${name} (${skip})`, () => {});

const settings = `
[registry]
heartbeat_interval_seconds = 1
suspect_misses = 4
dead_misses = 8
issue_keys = true
accepted_versions = "^1.2.0 || 3.x"
upgrade_hint = "pull image ocr:3"
`;

describe("two coordinators with keys on one Postgres", () => {
  let postgres: RunningPostgres;
  let coordinators: readonly RunningCoordinator[] = [];
  let operator = "";
  let config = "";
  const open: RegistryClient[] = [];
  const clientOf = (index: number, key = operator): RegistryClient => {
    const client = new RegistryClient(coordinators[index]?.target ?? "", key);
    open.push(client);
    return client;
  };

  beforeAll(async () => {
    if (skip !== undefined) return;
    postgres = await startPostgres();
    const made = await runCli(["keys", "generate", "--mcp-id", "*"]);
    operator = /(sk-\S+)/.exec(made.stderr)?.[1] ?? "";
    config = made.stdout + settings;
    const first = await startCoordinatorProcess({ databaseUrl: postgres.url, config });
    coordinators = [first, await startCoordinatorProcess({ databaseUrl: postgres.url, config })];
  });
  afterAll(async () => {
    for (const client of open) client[Symbol.dispose]();
    for (const coordinator of coordinators) await coordinator.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  story("give one registration to the same instance and different ids to different ones, however many register at once", async () => {
    const clients = [clientOf(0), clientOf(1)];
    const same = await Promise.all(
      clients.flatMap((client) => Array.from({ length: 8 }, () => client.call("registerMcp", { name: "same", version: "1.2.3" }))),
    );
    expect(new Set(same.map(({ mcpId }) => mcpId))).toEqual(new Set(["same_001"]));
    expect(same.filter(({ created }) => created)).toHaveLength(1);
    expect(same.filter(({ coordinatorConfig }) => coordinatorConfig?.apiKey !== "")).toHaveLength(1);
    const different = await Promise.all(
      clients.flatMap((client, which) =>
        Array.from({ length: 8 }, (_, i) => client.call("registerMcp", { name: "many", version: "1.2.3", instance: `${which}-${i}` })),
      ),
    );
    const expected = Array.from({ length: 16 }, (_, i) => `many_${String(i + 1).padStart(3, "0")}`);
    expect(different.map(({ mcpId }) => mcpId).sort()).toEqual(expected);
  });

  story("show each other's registrations, deregistrations and dead leases, to lists at once and to watchers as they come", async () => {
    const [here, there] = [clientOf(0), clientOf(1)];
    const watch = there.watch({ filter: { type: "shared" } });
    await watch.until((messages) => messages.length > 0);
    const leaving = await here.call("registerMcp", { name: "leaving", version: "1.2.3", type: "shared" });
    const silent = await here.call("registerMcp", { name: "silent", version: "1.2.3", type: "shared" });
    const listed = await there.call("listMcps", { filter: { type: "shared" } });
    expect(listed.mcps.map(({ mcpId }) => mcpId)).toEqual([leaving.mcpId, silent.mcpId]);
    await here.call("deregisterMcp", { mcpId: leaving.mcpId });
    expect((await there.call("getMcp", { mcpId: leaving.mcpId })).mcp?.leaseState).toBe(LeaseState.DEREGISTERED);
    await watch.until(() => watch.seen.includes(`${leaving.mcpId} ${LeaseState.DEREGISTERED}`));
    await watch.until(() => watch.seen.includes(`${silent.mcpId} ${LeaseState.DEAD}`));
    watch.cancel();
    expect(await there.refused("heartbeat", { mcpId: silent.mcpId })).toMatchObject({ reason: "LEASE_DEAD" });
  });

  story("keep the lease of an MCP that goes on at the other one when its coordinator is killed", async () => {
    const third = await startCoordinatorProcess({ databaseUrl: postgres.url, config });
    const { mcpId } = await clientOf(0).call("registerMcp", { name: "mover", version: "1.2.3" });
    const registrar = (await clientOf(0).call("getMcp", { mcpId })).coordinatorId;
    const [before, after] = [openGrpcClient(third.target), openGrpcClient(coordinators[1]?.target ?? "")];
    const old = new RawStream(before, { authorization: `Bearer ${operator}` });
    old.send({ case: "hello", value: { mcpId, instanceVersion: "1.2.3" } });
    await old.first("welcome");
    // The one that it was registered at hears nothing of it: who does then is the third.
    await expect.poll(async () => (await clientOf(0).call("getMcp", { mcpId })).coordinatorId).not.toBe(registrar);
    await third.stop();
    await old.ended;
    const fresh = new RawStream(after, { authorization: `Bearer ${operator}` });
    fresh.send({ case: "hello", value: { mcpId, instanceVersion: "1.2.3" } });
    await fresh.first("welcome");
    const silent = await clientOf(0).call("registerMcp", { name: "witness", version: "1.2.3" });
    const watch = clientOf(0).watch({ filter: { name: "witness", leaseState: LeaseState.DEAD } });
    await watch.until(() => watch.seen.includes(`${silent.mcpId} ${LeaseState.DEAD}`));
    watch.cancel();
    const { mcp, history } = await clientOf(0).call("getMcp", { mcpId, includeHistory: true });
    expect(mcp?.leaseState).toBe(LeaseState.ALIVE);
    expect(history.map(({ kind }) => kind)).not.toContain("dead");
    fresh.halfClose();
    await fresh.ended;
    before.close();
    after.close();
  });

  story("take a key that one of them issued, for its own MCP only, until it is deregistered", async () => {
    const registered = await clientOf(0).call("registerMcp", { name: "keyed", version: "1.2.3" });
    const key = registered.coordinatorConfig?.apiKey ?? "";
    expect(key).toMatch(/^sk-mcp-v2-/);
    const again = await clientOf(1).call("registerMcp", { name: "keyed", version: "1.2.3" });
    expect(again.coordinatorConfig?.apiKey).toBe("");
    const [own, elsewhere] = [clientOf(0, key), clientOf(1, key)];
    await own.call("heartbeat", {});
    await expect
      .poll(() =>
        elsewhere.call("heartbeat", {}).then(
          () => "taken",
          (thrown: Error) => thrown.message,
        ),
      )
      .toBe("taken");
    const foreign = { code: 7, reason: "MCP_NOT_ALLOWED" };
    expect(await own.refused("heartbeat", { mcpId: "same_001" })).toMatchObject(foreign);
    expect(await own.refused("deregisterMcp", { mcpId: "same_001" })).toMatchObject(foreign);
    expect(await own.refused("updateMcpConfig", { mcpId: "same_001", expectedVersion: 1n, weight: 1 })).toMatchObject(foreign);
    expect(await own.refused("registerMcp", { name: "another", version: "1.2.3" })).toMatchObject(foreign);
    expect((await own.call("registerMcp", { name: "keyed", version: "1.2.3" })).mcpId).toBe(registered.mcpId);
    expect((await own.call("getMcp", { mcpId: "same_001", includeHistory: true })).history).toEqual([]);
    const renewed = (await own.call("registerMcp", { name: "keyed", version: "1.2.3", renewApiKey: true })).coordinatorConfig?.apiKey ?? "";
    expect(renewed).toMatch(/^sk-mcp-v2-/);
    expect(await own.refused("heartbeat", {})).toMatchObject({ code: 16, reason: "KEY_UNKNOWN" });

    const grpc = openGrpcClient(coordinators[1]?.target ?? "");
    const headers = { authorization: `Bearer ${renewed}` };
    await expect
      .poll(() =>
        clientOf(1, renewed)
          .call("heartbeat", {})
          .then(
            () => "taken",
            (thrown: Error) => thrown.message,
          ),
      )
      .toBe("taken");
    const stream = new RawStream(grpc, headers);
    stream.send({ case: "hello", value: { instanceVersion: "1.2.3" } });
    expect((await stream.first("welcome")).value.authenticatedMcpId).toBe(registered.mcpId);
    await clientOf(0).call("deregisterMcp", { mcpId: registered.mcpId });
    expect(refusalOf(await stream.ended)).toMatchObject({ code: 16, reason: "KEY_UNKNOWN" });
    expect(await clientOf(1, renewed).refused("heartbeat", {})).toMatchObject({ code: 16, reason: "KEY_UNKNOWN" });
    grpc.close();
  });

  story("refuse versions that they do not accept, in RegisterMcp and in Hello, and say what to do", async () => {
    const hint = { accepted: "^1.2.0 || 3.x", upgrade_hint: "pull image ocr:3" };
    const refused = { code: 9, reason: "VERSION_NOT_ACCEPTED" };
    expect(await clientOf(0).refused("registerMcp", { name: "old", version: "2.0.0" })).toEqual({
      ...refused,
      fields: [],
      metadata: { ...hint, version: "2.0.0" },
    });
    expect((await clientOf(0).call("listMcps", { filter: { name: "old" } })).mcps).toEqual([]);
    const grpc = openGrpcClient(coordinators[0]?.target ?? "");
    for (const instanceVersion of ["2.0.0", "", "newest"]) {
      const stream = new RawStream(grpc, { authorization: `Bearer ${operator}` });
      stream.send({ case: "hello", value: { mcpId: "old", instanceVersion } });
      expect(refusalOf(await stream.ended)).toMatchObject({ ...refused, metadata: { ...hint, version: instanceVersion } });
    }
    const stream = new RawStream(grpc, { authorization: `Bearer ${operator}` });
    stream.send({ case: "hello", value: { mcpId: "old", instanceVersion: "3.1.4" } });
    await stream.first("welcome");
    stream.halfClose();
    await stream.ended;
    grpc.close();
  });
});

describe("a registry after a restart", () => {
  it("knows who was there, and gives no id again", async () => {
    const first = await startCoordinatorProcess();
    const before = new RegistryClient(first.target);
    for (const instance of ["a", "b"]) await before.call("registerMcp", { name: "kept", version: "1.0.0", instance });
    await before.call("deregisterMcp", { mcpId: "kept_002" });
    before[Symbol.dispose]();
    first.signal("SIGKILL");
    await first.exited;
    const second = await startCoordinatorProcess({ dataDir: first.dataDir });
    const after = new RegistryClient(second.target);
    expect((await after.call("listMcps", {})).mcps.map(({ mcpId }) => mcpId)).toEqual(["kept_001"]);
    expect((await after.call("registerMcp", { name: "kept", version: "1.0.0", instance: "b" })).mcpId).toBe("kept_003");
    expect((await after.call("registerMcp", { name: "kept", version: "1.0.0", instance: "a" })).mcpId).toBe("kept_001");
    after[Symbol.dispose]();
    await second.stop();
    await first.stop();
  });
});
