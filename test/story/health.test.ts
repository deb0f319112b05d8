import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  Health,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthListRequestSchema,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.js";
import { limits } from "../../src/platform/limits.js";
import { type CallEnd, callUnary, endOf, openGrpcClient, pathOf } from "../support/grpc-client.js";
import { type RpcPorts, startRpcPorts } from "../support/rpc-ports.js";

const interaction = "mcp.coordinator.v1.InteractionService";
const query = "mcp.coordinator.v1.QueryService";
const routing = "mcp.coordinator.v1.RoutingService";

let ports: RpcPorts;
let client: Client;
beforeEach(async () => {
  ports = await startRpcPorts();
  client = openGrpcClient(ports.grpcAddress);
});
afterEach(async () => {
  client?.close();
  await ports?.[Symbol.asyncDispose]();
});

async function check(service: string): Promise<{ code: number; status: string | undefined; end: CallEnd }> {
  const { response, end } = await callUnary(client, Health.method.check, create(HealthCheckRequestSchema, { service }));
  return { code: end.code, status: response === undefined ? undefined : Status[response.status], end };
}

/** A watch whose states are read one at a time. */
function watch(service: string) {
  const states: string[] = [];
  const waiting: (() => void)[] = [];
  const call: ClientReadableStream<HealthCheckResponse> = client.makeServerStreamRequest(
    pathOf(Health.method.watch),
    (bytes: Uint8Array) => Buffer.from(bytes),
    (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes),
    toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service })),
  );
  call.on("data", (answer) => {
    states.push(Status[answer.status] ?? String(answer.status));
    waiting.shift()?.();
  });
  const ended = new Promise<CallEnd>((resolve) => call.on("error", (error: ServiceError) => resolve(endOf(error))));
  const next = async (): Promise<string | undefined> => {
    if (states.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    return states.shift();
  };
  return { call, next, ended, states };
}

describe("Check", () => {
  it.each(["", interaction, query, routing, "grpc.health.v1.Health"])("tells that %j is serving", async (service) => {
    expect(await check(service)).toMatchObject({ code: 0, status: "SERVING" });
  });

  it("answers NOT_FOUND with a reason for a service that is not served", async () => {
    const { code, end } = await check("mcp.coordinator.v1.Nothing");
    expect(code).toBe(5);
    expect(end.details).toEqual(["google.rpc.ErrorInfo", "google.rpc.RequestInfo"]);
  });

  it("needs no key, and ignores a wrong one", async () => {
    const request = create(HealthCheckRequestSchema);
    const { end } = await callUnary(client, Health.method.check, request, { authorization: "Bearer wrong" });
    expect(end.code).toBe(0);
  });
});

it("when the store is away, what needs it is NOT_SERVING and the rest serves on", async () => {
  ports.grpc.health.setStoreAvailable(false);
  const states = await Promise.all(["", interaction, query, routing].map(async (name) => (await check(name)).status));
  expect(states).toEqual(["SERVING", "NOT_SERVING", "NOT_SERVING", "SERVING"]);
  ports.grpc.health.setStoreAvailable(true);
  expect((await check(interaction)).status).toBe("SERVING");
});

it("List gives every service with its state", async () => {
  ports.grpc.health.setServing(routing, false);
  const { response } = await callUnary(client, Health.method.list, create(HealthListRequestSchema));
  const states = Object.entries(response?.statuses ?? {}).map(([name, answer]) => [name, Status[answer.status]]);
  expect(Object.fromEntries(states)).toEqual({
    "": "SERVING",
    "grpc.health.v1.Health": "SERVING",
    "grpc.reflection.v1.ServerReflection": "SERVING",
    "grpc.reflection.v1alpha.ServerReflection": "SERVING",
    [interaction]: "SERVING",
    [query]: "SERVING",
    [routing]: "NOT_SERVING",
  });
});

describe("Watch", () => {
  it("tells the state at once and every change after it", async () => {
    const watched = watch(interaction);
    expect(await watched.next()).toBe("SERVING");
    ports.grpc.health.setStoreAvailable(false);
    expect(await watched.next()).toBe("NOT_SERVING");
    ports.grpc.health.setStoreAvailable(true);
    expect(await watched.next()).toBe("SERVING");
    watched.call.cancel();
  });

  it("of an unknown service says SERVICE_UNKNOWN, stays open, and tells when it comes to be served", async () => {
    const watched = watch("later.Service");
    expect(await watched.next()).toBe("SERVICE_UNKNOWN");
    ports.grpc.health.setServing("later.Service", true);
    expect(await watched.next()).toBe("SERVING");
    watched.call.cancel();
  });

  it("hears NOT_SERVING and then UNAVAILABLE when the coordinator drains", async () => {
    const watched = watch("");
    expect(await watched.next()).toBe("SERVING");
    const drained = ports.grpc.drain(5_000);
    expect(await watched.next()).toBe("NOT_SERVING");
    const end = await watched.ended;
    expect(end.code).toBe(14);
    expect(end.details).toEqual(["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "google.rpc.RequestInfo"]);
    await drained;
  });

  it("a watcher that went away frees its place", async () => {
    for (let round = 0; round <= limits.healthWatchersMax; round += 1) {
      // Node ends a connection on which a thousand streams were reset within seconds.
      if (round % 500 === 499) {
        client.close();
        client = openGrpcClient(ports.grpcAddress);
      }
      const watched = watch("");
      expect(await watched.next()).toBe("SERVING");
      watched.call.cancel();
      await watched.ended;
    }
    expect((await check("")).status).toBe("SERVING");
  });
});
