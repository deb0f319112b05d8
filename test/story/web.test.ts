import { request as httpRequest } from "node:http";
import { connect as connectSocket } from "node:net";
import { gzipSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { InteractionService } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { GetRoutesResponseSchema, RoutingService, WatchRoutesResponseSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { type Clock, systemClock } from "../../src/platform/clock.js";
import { limits } from "../../src/platform/limits.js";
import { StoreFault } from "../../src/store/store.js";
import { createDeferred } from "../support/deferred.js";
import { interactionOf, noDecisions, ocrKey, type RpcPorts, type RpcPortsOptions, startRpcPorts } from "../support/rpc-ports.js";

let ports: RpcPorts;
async function open(options: RpcPortsOptions = {}): Promise<void> {
  ports = await startRpcPorts(options);
}
afterEach(async () => {
  await ports?.[Symbol.asyncDispose]();
});

const streamPath = "/mcp.coordinator.v1.InteractionService/StreamInteractions";

function post(path: string, body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return fetch(ports.webUrl + path, { method: "POST", body, headers: { "content-type": "application/json", ...headers } });
}

async function refusalOf(call: Promise<unknown>): Promise<ConnectError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof ConnectError)) throw new Error(`no refusal but ${String(thrown)}`);
  return thrown;
}

const transports = {
  Connect: () => createConnectTransport({ baseUrl: ports.webUrl, httpVersion: "1.1" }),
  "gRPC-Web": () => createGrpcWebTransport({ baseUrl: ports.webUrl, httpVersion: "1.1" }),
};

describe("a credential that is refused", () => {
  it.each(["application/json", "application/proto", "application/grpc-web+proto", "application/connect+json"])(
    "is answered before the body of a %s has come, of which nothing is read",
    async (contentType) => {
      await open();
      const method = contentType.includes("connect+") ? "RoutingService/WatchRoutes" : "InteractionService/ReportInteractions";
      const socket = connectSocket(ports.webPort, "127.0.0.1");
      const head = [`POST /mcp.coordinator.v1.${method} HTTP/1.1`, "host: x", `content-type: ${contentType}`, "content-length: 4000000"];
      socket.write(`${[...head, "authorization: Bearer wrong", "connect-protocol-version: 1"].join("\r\n")}\r\n\r\n{`);
      let answer = "";
      socket.on("data", (chunk) => {
        answer += chunk;
      });
      const said = "the key is not known".replaceAll(" ", contentType.includes("grpc-web") ? "%20" : " ");
      await expect.poll(() => answer).toContain(said);
      socket.destroy();
      expect(answer).toMatch(/^HTTP\/1\.1 (401|200) /);
      expect(answer).toMatch(/KEY_UNKNOWN|grpc-status: 16|"code":"unauthenticated"/);
    },
  );
});

describe.each(Object.entries(transports))("over %s", (_name, transport) => {
  it("unary RPCs of all services answer", async () => {
    await open({ interactions: [interactionOf("ocr", "i-1", 1)] });
    const listed = await createClient(QueryService, transport()).listInteractions({});
    expect(listed.interactions).toHaveLength(1);
    expect((await createClient(RoutingService, transport()).getRoutes({})).routes?.version).toBe(7n);
    const known = await createClient(InteractionService, transport()).getInteraction({ mcpId: "ocr", interactionId: "known" });
    expect(known.interaction?.interactionId).toBe("known");
  });

  it("a server stream delivers, and ends with UNAVAILABLE when the coordinator drains", async () => {
    const routing = {
      ...noDecisions,
      getRoutes: async () => create(GetRoutesResponseSchema),
      watchRoutes: async function* (_request: unknown, context: { signal: AbortSignal }) {
        yield create(WatchRoutesResponseSchema, { routes: { version: 1n } });
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
    };
    await open({ routing });
    const seen: bigint[] = [];
    const refusal = await refusalOf(
      (async () => {
        for await (const { routes } of createClient(RoutingService, transport()).watchRoutes({})) {
          seen.push(routes?.version ?? 0n);
          void ports.web.drain(5_000);
        }
      })(),
    );
    expect(seen).toEqual([1n]);
    expect(refusal.code).toBe(Code.Unavailable);
    expect(refusal.findDetails(ErrorInfoSchema)[0]?.reason).toBe("COORDINATOR_DRAINING");
  });

  it("a refusal has the code, the reason and the faulty fields", async () => {
    await open();
    const refusal = await refusalOf(
      createClient(QueryService, transport()).getPerformanceMetrics({ timeRange: "2h", mcpId: "x".repeat(300) }),
    );
    expect(refusal.code).toBe(Code.InvalidArgument);
    expect(refusal.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "FIELD_VIOLATION", domain: "coordinator.mcp.v1" });
    expect(refusal.findDetails(BadRequestSchema)[0]?.fieldViolations.map(({ field }) => field)).toEqual(["mcp_id", "time_range"]);
  });

  it("a wrong key is refused", async () => {
    await open();
    const headers = { authorization: "Bearer wrong" };
    const refusal = await refusalOf(createClient(RoutingService, transport()).getRoutes({}, { headers }));
    expect(refusal.code).toBe(Code.Unauthenticated);
    expect(refusal.findDetails(ErrorInfoSchema)[0]?.reason).toBe("KEY_UNKNOWN");
  });

  it("a bug of ours hides its message", async () => {
    await open();
    const refusal = await refusalOf(createClient(InteractionService, transport()).getInteraction({ interactionId: "bug" }));
    expect(refusal.code).toBe(Code.Internal);
    expect(refusal.rawMessage).toBe("internal error");
  });

  it("a store that is away is UNAVAILABLE with a time to retry", async () => {
    const report = async () => {
      throw new StoreFault("outage", "ECONNREFUSED", "connect ECONNREFUSED 10.0.0.1:5432");
    };
    await open({ report });
    const refusal = await refusalOf(createClient(InteractionService, transport()).reportInteractions({}));
    expect(refusal.code).toBe(Code.Unavailable);
    expect(refusal.rawMessage).not.toContain("10.0.0.1");
    expect(refusal.findDetails(RetryInfoSchema)).toHaveLength(1);
  });

  it("a deadline that passes is DEADLINE_EXCEEDED", async () => {
    await open({ report: () => new Promise<never>(() => {}) });
    const refusal = await refusalOf(createClient(InteractionService, transport()).reportInteractions({}, { timeoutMs: 50 }));
    expect(refusal.code).toBe(Code.DeadlineExceeded);
  });
});

describe("by hand with curl", () => {
  it("JSON goes in and comes out, with the request id", async () => {
    await open({ interactions: [interactionOf("ocr", "i-1", 1)] });
    const headers = { "x-request-id": "curl-1", authorization: ocrKey };
    const response = await post("/mcp.coordinator.v1.QueryService/ListInteractions", "{}", headers);
    expect(response.status).toBe(200);
    expect(response.headers.get("x-request-id")).toBe("curl-1");
    expect(response.headers.get("x-coordinator-node")).toBe("coordinator-of-test");
    expect(await response.json()).toMatchObject({
      interactions: [{ mcpId: "ocr", processingTime: "1.500250s", startedAt: "2026-05-31T23:59:57.499750Z" }],
    });
  });

  it.each([
    ["a body over 4 MiB", () => `{"mcp_id":"${"x".repeat(5 * 1024 * 1024)}"}`, {}, 429],
    [
      "a body that unpacks to more than 4 MiB",
      () => gzipSync(`{"mcp_id":"${"x".repeat(64 * 1024 * 1024)}"}`),
      { "content-encoding": "gzip" },
      429,
    ],
    ["JSON nested 10 000 deep", () => `{"events":[{"start":{"parameters":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}}]}`, {}, 400],
    ["no JSON", () => "{", {}, 400],
  ])("%s is refused", async (_what, body, headers: Readonly<Record<string, string>>, status) => {
    await open();
    const response = await post("/mcp.coordinator.v1.InteractionService/ReportInteractions", body(), headers);
    expect(response.status).toBe(status);
    expect(await response.json()).toHaveProperty("code");
  });

  it.each(["/", "/mcp.coordinator.v1.QueryService/Nothing", "/health/x"])("%s is 404 in JSON, and says what there is", async (path) => {
    await open();
    const response = await fetch(ports.webUrl + path);
    const message = expect.stringMatching(`^nothing is served at ${path}; there are /health, `);
    expect([response.status, await response.json()]).toEqual([404, { code: "not_found", message }]);
  });
});

describe("the bidirectional RPC", () => {
  const sentence =
    "mcp.coordinator.v1.InteractionService/StreamInteractions is bidirectional: call it on the gRPC port, or report with ReportInteractions here";

  it("is UNIMPLEMENTED as plain JSON", async () => {
    await open();
    const response = await post(streamPath, "{}");
    expect([response.status, await response.json()]).toEqual([501, { code: "unimplemented", message: sentence }]);
  });

  it("is UNIMPLEMENTED to a Connect stream", async () => {
    await open();
    const response = await post(streamPath, new Uint8Array(5), { "content-type": "application/connect+json" });
    const body = Buffer.from(await response.arrayBuffer());
    expect([response.status, body.readUInt8(0), body.readUInt32BE(1)]).toEqual([200, 2, body.byteLength - 5]);
    expect(JSON.parse(body.subarray(5).toString())).toEqual({ error: { code: "unimplemented", message: sentence } });
  });

  it("is UNIMPLEMENTED to gRPC-Web", async () => {
    await open();
    const response = await post(streamPath, new Uint8Array(5), { "content-type": "application/grpc-web+proto" });
    expect([response.status, response.headers.get("grpc-status")]).toEqual([200, "12"]);
  });
});

describe("GET /health", () => {
  it("is 200 and healthy when every check passes", async () => {
    await open({ clock: { ...systemClock, nowMs: () => 1_780_272_000_000 } });
    const response = await fetch(`${ports.webUrl}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: "healthy",
      checks: { database: { status: "healthy", latency_ms: expect.any(Number) } },
      timestamp: "2026-06-01T00:00:00.000Z",
    });
  });

  it("is 503 and degraded when a check fails, without telling why", async () => {
    await open({ checks: { database: async () => Promise.reject(new Error("password of the database")) } });
    const response = await fetch(`${ports.webUrl}/health`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ status: "degraded", checks: { database: { status: "unhealthy", error: "failed" } } });
  });

  it("is 503 in bounded time when a check hangs, and the check is not started again meanwhile", async () => {
    let started = 0;
    const bounds: number[] = [];
    const gate = createDeferred();
    const clock: Clock = {
      ...systemClock,
      after: (delayMs, task) => {
        bounds.push(delayMs);
        return systemClock.after(1, task); // as if the time had passed
      },
    };
    const database = () => {
      started += 1;
      return gate.promise;
    };
    await open({ clock, checks: { database, cache: async () => {} } });
    for (let round = 0; round < 5; round += 1) {
      const response = await fetch(`${ports.webUrl}/health`);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({
        checks: { database: { status: "unhealthy", error: "timeout" }, cache: { status: "healthy" } },
      });
    }
    expect(started).toBe(1);
    expect(new Set(bounds)).toEqual(new Set([limits.healthCheckMaxMs]));
    gate.resolve();
  });

  it("refuses other methods", async () => {
    await open();
    const response = await fetch(`${ports.webUrl}/health`, { method: "DELETE" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });
});

describe("the web port", () => {
  it("refuses headers over 16 KiB", async () => {
    await open();
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(`${ports.webUrl}/health`, { headers: { "x-long": "x".repeat(limits.webHeaderMaxBytes) } });
      request.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject);
      request.end();
    });
    expect(status).toBe(431);
  });

  it("drains: a request under way finishes, a connection without a request is closed", async () => {
    const entered = createDeferred();
    const release = createDeferred();
    const report = async () => {
      entered.resolve();
      await release.promise;
      throw new StoreFault("outage", "08006", "away");
    };
    await open({ report });
    const idle = connectSocket(ports.webPort, "127.0.0.1");
    await new Promise((resolve) => idle.once("connect", resolve));
    const idleClosed = new Promise((resolve) => idle.once("close", resolve));
    idle.resume();
    const answered = post("/mcp.coordinator.v1.InteractionService/ReportInteractions", "{}");
    await entered.promise;
    const drained = ports.web.drain(60_000);
    await ports.grpc.drain(60_000); // done at once; its end takes nothing from this port
    release.resolve();
    expect((await answered).status).toBe(503);
    await Promise.all([drained, idleClosed]);
  });
});
