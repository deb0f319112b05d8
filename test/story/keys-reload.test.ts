import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { type CallEnd, callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { readAgain, unwatched } from "../support/read-again.js";

const reasonOf = (end: CallEnd) =>
  end.status?.details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info !== undefined)?.reason;

const entry = (id: string, more = "") => `[[auth.keys]]\nid = "${id}"\nmcp_id = "demo"\nkey = "sk-story-${id}-0123456789"\n${more}\n`;
const bearer = (id: string) => ({ authorization: `Bearer sk-story-${id}-0123456789` });

describe("keys in a file that is read again", () => {
  let scratch = "";
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "mcpc-keys-"));
    await writeFile(join(scratch, "c.toml"), entry("old"));
    coordinator = await startCoordinatorProcess({ flags: ["--config", join(scratch, "c.toml")], env: unwatched });
    client = openGrpcClient(coordinator.target);
  });
  beforeEach(() => reload(entry("old")));
  afterAll(async () => {
    client?.close();
    await coordinator?.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  const reload = (config: string) => readAgain(coordinator, join(scratch, "c.toml"), config);

  async function openStream(id: string): Promise<RawStream> {
    const stream = new RawStream(client, bearer(id));
    stream.send({ case: "hello", value: { mcpId: "demo" } });
    await stream.first("welcome");
    return stream;
  }

  const ask = async (id: string) => (await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema), bearer(id))).end;

  it("a key that was added is let in, and sessions of the others go on", async () => {
    const stream = await openStream("old");
    expect(reasonOf(await ask("new"))).toBe("KEY_UNKNOWN");
    await reload(entry("old") + entry("new"));
    expect((await ask("new")).code).toBe(0);
    stream.send({ case: "event", value: makeEvent({ mcpId: "demo" }) });
    expect((await stream.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });

  it.each([
    ["taken out", entry("new"), "KEY_UNKNOWN"],
    ["switched off", entry("old", "disabled = true") + entry("new"), "KEY_DISABLED"],
  ])("a key that was %s is let in no more, and its sessions end; what they sent is stored", async (_, config, reason) => {
    const stream = await openStream("old");
    stream.send({ case: "event", value: makeEvent({ mcpId: "demo" }) });
    expect((await stream.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    await reload(config);
    const end = await stream.ended;
    expect([end.code, reasonOf(end)]).toEqual([16, "KEY_UNKNOWN"]);
    expect(reasonOf(await ask("old"))).toBe(reason);
    expect((await ask("new")).code).toBe(0);
    expect(coordinator.log()).not.toContain("sk-story-");
  });

  it("a faulty file, and one without keys, change nothing and are an error in the log", async () => {
    const stream = await openStream("old");
    await reload(`${entry("new")}[[auth.keys]]\nid = "half`);
    expect(coordinator.log()).toMatch(/is faulty: nothing changes/);
    await reload("");
    expect(coordinator.log()).toMatch(/has no keys: those in force stay/);
    expect([(await ask("old")).code, reasonOf(await ask("new"))]).toEqual([0, "KEY_UNKNOWN"]);
    stream.send({ case: "heartbeat", value: { id: 1n } });
    await stream.first("heartbeatAck");
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });
});

describe("a coordinator that had no keys and reads some", () => {
  it("asks for them from then on, and ends the sessions that showed none", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "mcpc-keys-"));
    const config = join(scratch, "c.toml");
    await writeFile(config, "");
    const coordinator = await startCoordinatorProcess({ flags: ["--config", config], env: unwatched });
    const client = openGrpcClient(coordinator.target);
    try {
      const stream = new RawStream(client);
      stream.send({ case: "hello", value: { mcpId: "demo" } });
      await stream.first("welcome");
      await writeFile(config, entry("new"));
      coordinator.signal("SIGHUP");
      const end = await stream.ended;
      expect([end.code, reasonOf(end)]).toEqual([16, "KEY_MISSING"]);
    } finally {
      client.close();
      await coordinator.stop();
      await rm(scratch, { recursive: true, force: true });
    }
  });
});
