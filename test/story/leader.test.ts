import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { GetRoutesRequestSchema, RoutingService } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { findPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const story = it.runIf(findPostgres().kind === "found");

/** Asks until the coordinator shows a table with this MCP, of a term after `after`; gives the term. Bounded by the test's own timeout. */
async function termWith(coordinator: RunningCoordinator, mcpId: string, after = 0n): Promise<bigint> {
  const client = openGrpcClient(coordinator.target);
  try {
    for (;;) {
      const { response } = await callUnary(client, RoutingService.method.getRoutes, create(GetRoutesRequestSchema));
      const { term = 0n, table } = response?.routes ?? {};
      if (term > after && table?.routes.some((route) => route.mcpId === mcpId)) return term;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    client.close();
  }
}

describe("the publisher of weights", () => {
  story("is followed at once by another coordinator when it is killed, under a newer term", async () => {
    const postgres = await startPostgres();
    const [first, second] = [
      await startCoordinatorProcess({ databaseUrl: postgres.url }),
      await startCoordinatorProcess({ databaseUrl: postgres.url }),
    ];
    const client = openGrpcClient(second.target);
    try {
      const firstTerm = await termWithSession(first, "on-first");
      expect(await termWith(second, "on-first")).toBe(firstTerm);
      const stream = new RawStream(client);
      stream.send({ case: "hello", value: { mcpId: "on-second", producerId: "p", capabilities: [Capability.ROUTING] } });
      await stream.first("welcome");
      first.signal("SIGKILL");
      await first.exited;
      // The first one may have published it before it was killed: what counts is that the second one goes on.
      expect(await termWith(second, "on-second", firstTerm)).toBeGreaterThan(firstTerm);
      stream.halfClose();
      await stream.ended;
    } finally {
      client.close();
      await first.stop();
      await second.stop();
      await postgres[Symbol.asyncDispose]();
    }
  });
});

/** Opens a session of an MCP, waits until it stands in the table, and leaves it open until the process ends. */
async function termWithSession(coordinator: RunningCoordinator, mcpId: string): Promise<bigint> {
  const client = openGrpcClient(coordinator.target);
  const stream = new RawStream(client);
  stream.send({ case: "hello", value: { mcpId } });
  await stream.first("welcome");
  return termWith(coordinator, mcpId);
}
