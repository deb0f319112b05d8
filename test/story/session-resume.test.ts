import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { AckMode, ResumeStatus, type Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const skip = postgresSkipReason();

describe.skipIf(skip !== undefined)(
  `where a producer goes on, by what Postgres knows of it${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let server: RunningPostgres;
    let coordinator: RunningCoordinator;
    let client: ReturnType<typeof openGrpcClient>;
    beforeAll(async () => {
      server = await startPostgres();
      coordinator = await startCoordinatorProcess({ databaseUrl: server.url });
      client = openGrpcClient(coordinator.target);
    });
    afterAll(async () => {
      client?.close();
      await coordinator?.stop();
      await server?.[Symbol.asyncDispose]();
    });

    /** Greets, reports the events of these sequences, and leaves in good order. */
    async function visit(producerId: string, firstUnackedSequence: bigint, sequences: readonly bigint[] = []): Promise<Welcome> {
      const stream = new RawStream(client);
      stream.send({ case: "hello", value: { mcpId: "demo", producerId, firstUnackedSequence, ackMode: AckMode.EACH } });
      const { value } = await stream.first("welcome");
      for (const sequence of sequences) stream.send({ case: "event", value: makeEvent({ eventId: mintUuidV7(), sequence }) });
      const acks = await stream.untilAcks(sequences.length);
      expect(acks.map(({ status }) => status)).toEqual(sequences.map(() => EventStatus.STORED));
      stream.halfClose();
      expect((await stream.ended).code).toBe(0);
      return value;
    }
    const told = ({ resumeStatus, resumeAfterSequence }: Welcome) => [ResumeStatus[resumeStatus], resumeAfterSequence];

    it("is the beginning for a new one, and for one that claims a history that nobody has", async () => {
      expect(told(await visit(`new-${mintUuidV7()}`, 1n))).toEqual(["NEW", 0n]);
      expect(told(await visit(`lost-${mintUuidV7()}`, 7n, [7n]))).toEqual(["UNKNOWN_PRODUCER", 0n]);
    });

    it("is behind what is resolved; who was away beyond the horizon and still holds such events is told that they cannot be told from new ones", async () => {
      const producerId = `away-${mintUuidV7()}`;
      expect(told(await visit(producerId, 1n, [1n, 2n, 3n, 4n, 5n]))).toEqual(["NEW", 0n]);
      expect(told(await visit(producerId, 6n))).toEqual(["RESUMED", 5n]);
      expect(told(await visit(producerId, 3n))).toEqual(["RESUMED", 5n]);
      const away = async () => {
        const sql = postgres(server.url, { max: 1 });
        await sql`UPDATE producer SET seen_at = now() - interval '8 days' WHERE producer_id = ${producerId}`;
        await sql.end();
      };
      await away();
      expect(told(await visit(producerId, 6n))).toEqual(["RESUMED", 5n]);
      await away();
      // The session goes on all the same: what is young enough is stored.
      expect(told(await visit(producerId, 3n, [6n]))).toEqual(["TOO_OLD", 5n]);
      expect(told(await visit(producerId, 7n))).toEqual(["RESUMED", 6n]);
    });
  },
);
