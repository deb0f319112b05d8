import { once } from "node:events";
import { connect } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Client, Metadata, type StatusObject } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import type { InteractionState } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  GetInteractionRequestSchema,
  InteractionService,
  ReportInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { ListInteractionsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { RoutingService, WatchRoutesResponseSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Principal } from "../../src/auth/principal.js";
import { type Clock, systemClock } from "../../src/platform/clock.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { createRoutingHandlers } from "../../src/rpc/routing.js";
import { createDeferred } from "../support/deferred.js";
import { type CallEnd, callRaw, callUnary, endOf, metadataOf, openGrpcClient, pathOf } from "../support/grpc-client.js";
import { ManualClock } from "../support/manual-clock.js";
import { interactionOf, noDecisions, ocrKey, type RpcPorts, type RpcPortsOptions, startRpcPorts } from "../support/rpc-ports.js";

let ports: RpcPorts;
let client: Client;
async function open(options: RpcPortsOptions = {}): Promise<void> {
  ports = await startRpcPorts(options);
  client = openGrpcClient(ports.grpcAddress);
}
beforeEach(() => {
  client?.close();
});
afterEach(async () => {
  client?.close();
  await ports?.[Symbol.asyncDispose]();
});

const getInteraction = (interactionId: string, headers: Readonly<Record<string, string>> = {}) =>
  callUnary(
    client,
    InteractionService.method.getInteraction,
    create(GetInteractionRequestSchema, { mcpId: "ocr", interactionId }),
    headers,
  );

function errorInfoOf(end: CallEnd) {
  const any = end.status?.details[0];
  const info = any === undefined ? undefined : anyUnpack(any, ErrorInfoSchema);
  if (info === undefined) throw new Error(`no ErrorInfo in status ${end.code} ${end.message}`);
  return info;
}

/** A call over raw bytes that is neither unary nor watched by a generated client. */
function openStream(path: string, headers = new Metadata()) {
  const call = client.makeBidiStreamRequest(
    path,
    (bytes: Uint8Array) => Buffer.from(bytes),
    (bytes: Buffer) => bytes,
    headers,
  );
  const messages: Buffer[] = [];
  call.on("data", (bytes: Buffer) => messages.push(bytes));
  call.on("error", () => {}); // read from the status
  const ended = new Promise<CallEnd>((resolve) => call.on("status", (status: StatusObject) => resolve(endOf(status))));
  const opened = new Promise<Metadata>((resolve) => call.on("metadata", resolve));
  return { call, messages, ended, opened };
}

describe("a refusal", () => {
  it("of a credential does not wait for the message, of which nothing is kept; health asks for none", async () => {
    await open();
    const session = connect(`http://${ports.grpcAddress}`);
    const begin = (path: string) => {
      const headers = {
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        authorization: "Bearer wrong",
      };
      const stream = session.request({ ...headers, "x-request-id": "mine" });
      stream.on("error", () => {}); // it is reset once it is answered
      stream.write(Buffer.from([0, 0, 0x40, 0, 0]));
      return stream;
    };
    for (const method of [InteractionService.method.reportInteractions, InteractionService.method.streamInteractions]) {
      const stream = begin(pathOf(method));
      const closed = once(stream, "close");
      const [answer] = await once(stream, "response");
      expect(answer).toMatchObject({ "grpc-status": "16", "grpc-message": "the%20key%20is%20not%20known", "x-request-id": "mine" });
      expect(answer["grpc-status-details-bin"]).toBeDefined();
      await closed;
      expect(stream.rstCode).toBe(0);
    }
    const health = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const [trailers] = await once(health.resume().end(Buffer.alloc(5)), "trailers");
    expect(trailers).toMatchObject({ "grpc-status": "0" });
    session.destroy();
  });

  it("has a canonical code, a sentence, and ErrorInfo with the documented domain", async () => {
    await open();
    const { end } = await getInteraction("none");
    expect(end).toMatchObject({ code: 5, message: 'no event of interaction "none" is stored' });
    expect(errorInfoOf(end)).toMatchObject({ reason: "INTERACTION_NOT_FOUND", domain: "coordinator.mcp.v1" });
    expect(end.status?.code).toBe(5);
  });

  it("names every faulty field", async () => {
    await open();
    const request = create(ListInteractionsRequestSchema, {
      mcpId: "a\0b",
      sessionId: "s".repeat(300),
      pageSize: 1_001,
      state: 99 as InteractionState,
    });
    const { end } = await callUnary(client, QueryService.method.listInteractions, request);
    expect(errorInfoOf(end).reason).toBe("FIELD_VIOLATION");
    const any = end.status?.details[1];
    const fields = (any === undefined ? undefined : anyUnpack(any, BadRequestSchema))?.fieldViolations.map(({ field }) => field);
    expect(fields).toEqual(["mcp_id", "session_id", "state", "page_size"]);
  });

  it("is the answer where the headers of an answer cannot be sent, and the process goes on", async () => {
    await open({ coordinatorId: "Zürich" });
    const first = await getInteraction("known");
    expect(first.end).toMatchObject({ code: 13, message: "internal error" });
    expect((await getInteraction("none")).end.code).toBe(5);
  });

  it("for a bug of ours hides the message and logs the cause", async () => {
    await open();
    const { end } = await getInteraction("bug", { "x-request-id": "find-me" });
    expect(end).toMatchObject({ code: 13, message: "internal error" });
    expect(Buffer.from(JSON.stringify(end.metadata.toJSON())).toString()).not.toContain("secret");
    expect(ports.logged).toContainEqual(
      expect.objectContaining({
        level: 50,
        requestId: "find-me",
        err: expect.objectContaining({ message: "secret of the implementation" }),
      }),
    );
  });

  it.each([
    ["a truncated varint", Buffer.from([0x08, 0xff]), "UNDECODABLE_FRAME"],
    ["a length beyond the end", Buffer.from([0x0a, 0x7f, 0x61]), "UNDECODABLE_FRAME"],
    ["a string that is no UTF-8", Buffer.from([0x0a, 0x01, 0xff]), "UNDECODABLE_FRAME"],
  ])("of %s is INVALID_ARGUMENT, where grpc-js would say INTERNAL", async (_what, bytes, reason) => {
    await open();
    const { end } = await callRaw(client, InteractionService.method.getInteraction, bytes);
    expect(end.code).toBe(3);
    expect(errorInfoOf(end)).toMatchObject({ reason, metadata: { bytes: String(bytes.length) } });
    expect(ports.logged).toContainEqual(
      expect.objectContaining({ head: bytes.toString("hex"), rpc: pathOf(InteractionService.method.getInteraction) }),
    );
  });

  it("of a message over 4 MiB is RESOURCE_EXHAUSTED and names both sizes", async () => {
    await open();
    const { end } = await callRaw(client, InteractionService.method.getInteraction, Buffer.alloc(5 * 1024 * 1024));
    expect(end).toMatchObject({ code: 8, message: "Received message larger than max (5242880 vs 4194304)" });
  });

  it("of an unknown method is UNIMPLEMENTED", async () => {
    await open();
    const { ended } = openStream("/mcp.coordinator.v1.InteractionService/Nothing");
    expect((await ended).code).toBe(12);
  });
});

describe("credentials", () => {
  it("that are unknown end unary, streaming and bidirectional calls alike before any handler runs", async () => {
    let handled = 0;
    const routing = {
      ...noDecisions,
      getRoutes: async () => {
        handled += 1;
        throw new Error("unreached");
      },
      // biome-ignore lint/correctness/useYield: the point is that it is never asked
      watchRoutes: async function* () {
        handled += 1;
      },
    };
    await open({ stream: () => (handled += 1), routing });
    const headers = { authorization: "Bearer wrong" };
    const unary = await callRaw(client, RoutingService.method.getRoutes, new Uint8Array(), headers);
    const paths = [pathOf(RoutingService.method.watchRoutes), pathOf(InteractionService.method.streamInteractions)];
    const streams = await Promise.all(
      paths.map((path) => {
        const stream = openStream(path, metadataOf(headers));
        stream.call.end(Buffer.alloc(0));
        return stream.ended;
      }),
    );
    for (const end of [unary.end, ...streams]) {
      expect(end.code).toBe(16);
      expect(errorInfoOf(end).reason).toBe("KEY_UNKNOWN");
    }
    expect(handled).toBe(0);
  });

  it("bound to an MCP read that MCP only", async () => {
    await open({ interactions: [interactionOf("ocr", "mine", 1), interactionOf("other", "theirs", 2)] });
    const headers = { authorization: ocrKey };
    const mine = await callUnary(client, QueryService.method.listInteractions, create(ListInteractionsRequestSchema), headers);
    expect(mine.response?.interactions.map(({ interactionId }) => interactionId)).toEqual(["mine"]);
    const theirs = await callUnary(
      client,
      QueryService.method.listInteractions,
      create(ListInteractionsRequestSchema, { mcpId: "other" }),
      headers,
    );
    expect(theirs.end.code).toBe(7);
    expect(errorInfoOf(theirs.end).reason).toBe("MCP_NOT_ALLOWED");
  });
});

describe("the request id", () => {
  it("of the caller comes back with the answer, and with a refusal", async () => {
    await open();
    const answered = await getInteraction("known", { "x-request-id": "abc-1" });
    expect(answered.headers.get("x-request-id")).toEqual(["abc-1"]);
    expect(answered.headers.get("x-coordinator-node")).toEqual(["coordinator-of-test"]);
    const refused = await getInteraction("none", { "x-request-id": "abc-2" });
    expect(refused.end.metadata.get("x-request-id")).toEqual(["abc-2"]);
  });

  it.each(["", "x".repeat(129), "two words"])("is minted when the caller's is %j", async (given) => {
    await open();
    const { headers } = await getInteraction("known", { "x-request-id": given });
    expect(String(headers.get("x-request-id")[0])).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  });
});

describe("a bidirectional stream", () => {
  it("has its response headers before anything is sent", async () => {
    await open();
    const stream = openStream(pathOf(InteractionService.method.streamInteractions), metadataOf({ "x-request-id": "early" }));
    expect((await stream.opened).get("x-request-id")).toEqual(["early"]);
    stream.call.cancel();
  });

  it("hands an undecodable frame to its handler, with size and head, and goes on", async () => {
    const frames: unknown[] = [];
    await open({
      stream: (call) => {
        call.on("data", (frame) =>
          frames.push(frame.kind === "message" ? frame.message.frame.case : [frame.reason, frame.bytes, frame.head.length]),
        );
        call.once("end", () => call.end());
      },
    });
    const stream = openStream(pathOf(InteractionService.method.streamInteractions));
    stream.call.write(Buffer.alloc(200, 0xff));
    stream.call.write(deepStruct(10_000));
    stream.call.write(Buffer.from([0x0a, 0x00]));
    stream.call.end();
    expect((await stream.ended).code).toBe(0);
    expect(frames).toEqual([
      ["UNDECODABLE_FRAME", 200, limits.undecodableHeadBytes],
      ["NESTED_TOO_DEEP", expect.any(Number), limits.undecodableHeadBytes],
      "hello",
    ]);
  });

  it("aborts its signal when the caller goes away", async () => {
    const { promise, resolve } = createDeferred<unknown>();
    await open({ stream: (_call, context) => context.signal.addEventListener("abort", () => resolve(context.signal.reason)) });
    const stream = openStream(pathOf(InteractionService.method.streamInteractions));
    await stream.opened;
    stream.call.cancel();
    expect(await promise).toMatchObject({ reason: "CALL_CANCELLED" });
  });
});

describe("a server stream", () => {
  it("is asked for no more than its reader takes, and ends with the reader", async () => {
    let asked = 0;
    const { promise: finished, resolve } = createDeferred<void>();
    const policyId = "p".repeat(100_000);
    const routing = {
      ...noDecisions,
      getRoutes: async () => Promise.reject(new Error("unused")),
      watchRoutes: async function* () {
        try {
          for (;;) {
            asked += 1;
            yield create(WatchRoutesResponseSchema, { routes: { policyId } });
          }
        } finally {
          resolve();
        }
      },
    };
    await open({ routing });
    const session = connect(`http://${ports.grpcAddress}`);
    const reader = session.request({
      ":method": "POST",
      ":path": pathOf(RoutingService.method.watchRoutes),
      "content-type": "application/grpc",
    });
    reader.on("error", () => {}); // cut below
    reader.end(Buffer.alloc(5)); // an empty message; nothing is ever read
    await new Promise((next) => reader.once("response", next));
    for (let round = 0; round < 50; round += 1) await callRaw(client, InteractionService.method.getInteraction, Buffer.alloc(0));
    expect(asked).toBeLessThanOrEqual(2); // 100 kB each, and the reader's window is 64 KiB
    session.destroy();
    await finished;
  });
});

describe("a server stream whose key is revoked", () => {
  it("ends with the refusal that a new call would hear, though nothing was sent on it", async () => {
    const moved = new ManualClock(1_780_000_000_000);
    /** Only the time until the next look at the key is moved by hand: the ports need theirs to end. */
    const after: Clock["after"] = (ms, task) => (ms === limits.credentialCheckMs ? moved : systemClock).after(ms, task);
    const clock: Clock = { ...systemClock, after };
    let isRevoked = false;
    const authenticate = (): Principal => {
      if (isRevoked) throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
      return { kind: "key", keyId: "k", mcpId: "*" };
    };
    let watcherCount = 0;
    const book = {
      current: () => undefined,
      subscribe: () => {
        watcherCount += 1;
        return () => {
          watcherCount -= 1;
        };
      },
    };
    const readPlane = () => {
      throw new Error("unused");
    };
    await open({
      clock,
      authenticate,
      routing: { ...noDecisions, ...createRoutingHandlers({ book, listAcks: async () => [], readPlane }) },
    });
    const call = client.makeServerStreamRequest(
      pathOf(RoutingService.method.watchRoutes),
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => bytes,
      Buffer.alloc(0),
    );
    let end: CallEnd | undefined;
    call.on("error", () => {}); // read from the status
    call.on("data", () => {});
    const ended = new Promise<void>((resolve) => {
      call.on("status", (status: StatusObject) => {
        end = endOf(status);
        resolve();
      });
    });
    await new Promise((resolve) => call.once("metadata", resolve));
    await moved.advance(3 * limits.credentialCheckMs);
    expect([end, watcherCount]).toEqual([undefined, 1]);
    isRevoked = true;
    await moved.advance(limits.credentialCheckMs);
    // Not what this checks, but the run must not wait for a stream that does not end.
    const overdue = setTimeout(() => call.cancel(), 60_000);
    await ended;
    clearTimeout(overdue);
    expect(end && [end.code, errorInfoOf(end).reason]).toEqual([16, "KEY_UNKNOWN"]);
    expect(watcherCount).toBe(0);
  });
});

describe("an address that is taken", () => {
  it("is refused by name, on both ports", async () => {
    await open();
    const refusal = { code: "failed_precondition", reason: "ADDRESS_IN_USE" };
    const { grpcPort, webPort } = ports;
    const grpcRefusal = { ...refusal, message: expect.stringContaining(`127.0.0.1:${grpcPort} is already in use`) };
    const webRefusal = { ...refusal, message: expect.stringContaining(`127.0.0.1:${webPort} is already in use`) };
    await expect(startRpcPorts({ grpcPort })).rejects.toMatchObject(grpcRefusal);
    await expect(startRpcPorts({ webPort })).rejects.toMatchObject(webRefusal);
  });
});

describe("draining", () => {
  it("lets a unary call finish, and then resolves", async () => {
    const entered = createDeferred<void>();
    const release = createDeferred<void>();
    const report = async () => {
      entered.resolve();
      await release.promise;
      return create(ReportInteractionsResponseSchema);
    };
    await open({ report });
    const answered = callRaw(client, InteractionService.method.reportInteractions, new Uint8Array());
    await entered.promise;
    const drained = ports.grpc.drain(60_000);
    release.resolve();
    expect((await answered).end.code).toBe(0);
    await drained;
  });

  it("ends what outlives the grace period with UNAVAILABLE, and a session that ignores it is cut", async () => {
    const entered = createDeferred<void>();
    const report = () => {
      entered.resolve();
      return new Promise<never>(() => {});
    };
    await open({ report, stream: () => {} });
    const session = openStream(pathOf(InteractionService.method.streamInteractions));
    await session.opened;
    const answered = callRaw(client, InteractionService.method.reportInteractions, new Uint8Array());
    await entered.promise;
    await ports.grpc.drain(1);
    const { end } = await answered;
    expect(end.code).toBe(14);
    expect(errorInfoOf(end).reason).toBe("COORDINATOR_DRAINING");
    expect((await session.ended).code).not.toBe(0);
  });
});

/** A frame whose event holds a Struct nested `depth` deep: from the inside out, what stands before each level depends only on its length. */
function deepStruct(depth: number): Buffer {
  const before: Buffer[] = [];
  let size = 0;
  const wrap = (field: number) => {
    const head: number[] = [(field << 3) | 2];
    for (let rest = size; ; rest >>>= 7) {
      head.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest <= 127) break;
    }
    before.push(Buffer.from(head));
    size += head.length;
  };
  for (let level = 0; level < depth; level += 1) for (const field of [5, 2, 1]) wrap(field); // struct_value, the value of an entry, fields
  for (const field of [6, 10, 2]) wrap(field); // parameters, start, event
  return Buffer.concat(before.reverse());
}
