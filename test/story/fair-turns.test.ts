import { create } from "@bufbuild/protobuf";
import postgres, { type Sql } from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GetStatsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { AckMode } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { limits } from "../../src/platform/limits.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const skip = postgresSkipReason();
/** Enough for some to be on the lane of the one that floods; names and lanes are the same in every run. */
const modestProducers = Array.from({ length: 9 }, (_, number) => `modest-${number}`);

/** Tries until it is so; bounded by the test's own time limit. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe.skipIf(skip)("one producer floods while others send single events", () => {
  let server: RunningPostgres;
  let coordinator: RunningCoordinator;
  let client: ReturnType<typeof openGrpcClient>;
  let sql: Sql;
  beforeAll(async () => {
    server = await startPostgres();
    coordinator = await startCoordinatorProcess({ databaseUrl: server.url });
    client = openGrpcClient(coordinator.target);
    sql = postgres(server.url, { max: 2 });
  });
  afterAll(async () => {
    client?.close();
    await sql?.end();
    await coordinator?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  const openFor = async (producerId: string): Promise<RawStream> => {
    const stream = new RawStream(client);
    stream.send({ case: "hello", value: { mcpId: "demo", producerId, ackMode: AckMode.COALESCED } });
    await stream.first("welcome");
    return stream;
  };
  const send = (stream: RawStream, producerId: string, first: number, count: number): void => {
    const events = Array.from({ length: count }, (_, i) =>
      makeEvent({ eventId: mintUuidV7(), interactionId: `${producerId}-${first + i}`, sequence: BigInt(first + i) }),
    );
    stream.send({ case: "eventBatch", value: { events } });
  };
  const pendingIs = (count: number): Promise<void> =>
    until(async () => {
      const { response } = await callUnary(client, QueryService.method.getStats, create(GetStatsRequestSchema));
      return response?.coordinator?.pendingEvents === count;
    });
  const resolved = (stream: RawStream, through: number): Promise<boolean> =>
    stream.until((frames) =>
      frames.some((frame) => frame.case === "eventAckBatch" && frame.value.resolvedThroughSequence === BigInt(through)) ? true : undefined,
    );

  it("each single event stands in the next statement of its lane, and what was there before it in a later one", async () => {
    const flood = await openFor("flood");
    const modest = await Promise.all(modestProducers.map(async (producerId) => ({ producerId, stream: await openFor(producerId) })));
    const burst = limits.windowMaxEvents * limits.windowPauseFactor;
    // As long as the table is locked, the first statement of each lane waits, and everything else behind it.
    await sql.begin(async (tx) => {
      await tx`LOCK TABLE interaction_event IN SHARE ROW EXCLUSIVE MODE`;
      send(flood, "flood", 1, 1);
      await until(async () => {
        const [row] = await sql<{ waiting: number }[]>`SELECT count(*)::int AS waiting FROM pg_locks WHERE NOT granted`;
        return row?.waiting === 1;
      });
      for (let sent = 1; sent <= burst; sent += limits.batchMaxEvents) send(flood, "flood", sent + 1, limits.batchMaxEvents);
      await pendingIs(1 + burst);
      for (const { producerId, stream } of modest) send(stream, producerId, 1, 1);
      await pendingIs(1 + burst + modest.length);
    });
    await Promise.all([resolved(flood, 1 + burst), ...modest.map(({ stream }) => resolved(stream, 1))]);
    // The rows of one statement are of one transaction; those of a lane come one after the other.
    const statements = await sql<{ flood: number; modest: number }[]>`
      SELECT count(*) FILTER (WHERE producer_id = 'flood')::int AS flood, count(*) FILTER (WHERE producer_id <> 'flood')::int AS modest
      FROM interaction_event GROUP BY xmin, received_at ORDER BY received_at`;
    const ofLane = statements.filter((statement) => statement.flood > 0);
    const joined = ofLane[1]?.modest ?? 0;
    expect(joined, "some share the lane").toBeGreaterThan(0);
    expect(ofLane).toEqual([
      { flood: 1, modest: 0 },
      { flood: limits.commitMaxEvents - joined, modest: joined },
      { flood: burst - (limits.commitMaxEvents - joined), modest: 0 },
    ]);
    for (const stream of [flood, ...modest.map(({ stream: one }) => one)]) stream.halfClose();
  });
});
