import { create } from "@bufbuild/protobuf";
import type { Client } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DecisionCandidate } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  AuditDecisionRequestSchema,
  ReleaseDecisionRequestSchema,
  RoutingService,
  SelectMcpRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const story = it.runIf(findPostgres().kind === "found");

/** A session of an MCP at one coordinator. */
async function connect(client: Client, mcpId: string): Promise<RawStream> {
  const stream = new RawStream(client);
  stream.send({ case: "hello", value: { mcpId, producerId: `producer of ${mcpId}` } });
  await stream.first("welcome");
  return stream;
}

/** Chooses once and gives the place back; undefined when nobody can be chosen. */
async function choose(client: Client): Promise<string | undefined> {
  const request = create(SelectMcpRequestSchema, { request: { requestType: "ocr" } });
  const { response } = await callUnary(client, RoutingService.method.selectMcp, request);
  if (response === undefined) return undefined;
  const { decisionId, mcpId } = response;
  await callUnary(client, RoutingService.method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }));
  return mcpId;
}

/** Chooses again and again until a row of choices is as wanted. Bounded by the test's own timeout. */
async function untilChosen(client: Client, rowLength: number, isWanted: (row: readonly (string | undefined)[]) => boolean): Promise<void> {
  for (;;) {
    const row: (string | undefined)[] = [];
    for (let index = 0; index < rowLength; index += 1) row.push(await choose(client));
    if (isWanted(row)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** An MCP as a coordinator sees it: it is asked for a choice, which is given back. */
async function seenAt(client: Client, mcpId: string): Promise<DecisionCandidate | undefined> {
  const request = create(SelectMcpRequestSchema, { request: { requestType: "ocr" }, keepCandidates: true });
  const { response } = await callUnary(client, RoutingService.method.selectMcp, request);
  const { decisionId = "", candidates = [] } = response ?? {};
  await callUnary(client, RoutingService.method.releaseDecision, create(ReleaseDecisionRequestSchema, { decisionId }));
  return candidates.find((one) => one.mcpId === mcpId);
}

/** Requests that an MCP has in flight as a coordinator sees it. */
async function inFlightAt(client: Client, mcpId: string): Promise<number | undefined> {
  return (await seenAt(client, mcpId))?.inFlight;
}

/** Starts and ends of one interaction as its MCP reports them. */
function interaction(first: bigint, detail: NonNullable<EventInit["detail"]>): readonly EventInit[] {
  const interactionId = mintUuidV7();
  return [
    { eventId: mintUuidV7(), interactionId, sequence: first, detail: { case: "start", value: { requestType: "ocr" } } },
    { eventId: mintUuidV7(), interactionId, sequence: first + 1n, detail },
  ];
}

describe("two coordinators with half of a fleet each", () => {
  let postgres: RunningPostgres;
  let first: RunningCoordinator;
  let second: RunningCoordinator;
  beforeAll(async () => {
    if (findPostgres().kind !== "found") return;
    postgres = await startPostgres();
    first = await startCoordinatorProcess({ databaseUrl: postgres.url });
    second = await startCoordinatorProcess({ databaseUrl: postgres.url });
  });
  afterAll(async () => {
    await first?.stop();
    await second?.stop();
    await postgres?.[Symbol.asyncDispose]();
  });

  story("what an MCP reports to one of them settles the decision of the other, and gives its place back", async () => {
    const [atFirst, atSecond] = [openGrpcClient(first.target), openGrpcClient(second.target)];
    const stream = await connect(atSecond, "b-lone");
    try {
      // Nobody else can take it, and it is known to the first coordinator through the second only.
      await untilChosen(atFirst, 1, ([mcpId]) => mcpId === "b-lone");
      const request = create(SelectMcpRequestSchema, { request: { requestType: "ocr" } });
      const { response } = await callUnary(atFirst, RoutingService.method.selectMcp, request);
      const decisionId = response?.decisionId ?? "";
      expect(await inFlightAt(atFirst, "b-lone")).toBe(1);
      const detail = { case: "complete", value: { qualityScore: 0.75 } } as const;
      const [start, end] = interaction(1n, detail);
      const started = { ...start, detail: { case: "start", value: { requestType: "ocr", routingDecisionId: decisionId } } } as const;
      for (const event of [started, end]) stream.send({ case: "event", value: makeEvent({ ...event, mcpId: "b-lone" }) });
      expect((await stream.untilAcks(2)).map(({ status }) => status)).toEqual([EventStatus.STORED, EventStatus.STORED]);
      // Well before its lease of half a minute runs out.
      await expect.poll(() => inFlightAt(atFirst, "b-lone"), { timeout: 20_000 }).toBe(0);
      const release = create(ReleaseDecisionRequestSchema, { decisionId });
      expect((await callUnary(atFirst, RoutingService.method.releaseDecision, release)).response?.released).toBe(false);
    } finally {
      stream.halfClose();
      await stream.ended;
      atFirst.close();
      atSecond.close();
    }
  });

  story("what one of them is told of the answers of an MCP, the other one learns that holds its stream, and both go by it", async () => {
    const [atFirst, atSecond] = [openGrpcClient(first.target), openGrpcClient(second.target)];
    const stream = await connect(atSecond, "b-boaster");
    try {
      await untilChosen(atFirst, 1, ([mcpId]) => mcpId === "b-boaster");
      let sequence = 0n;
      for (let index = 0; index < 20; index += 1) {
        // Its ten places may all be taken until the other coordinator's next word tells of the ends.
        const request = create(SelectMcpRequestSchema, { request: { requestType: "ocr" } });
        let decisionId = "";
        const select = async () => {
          decisionId = (await callUnary(atFirst, RoutingService.method.selectMcp, request)).response?.decisionId ?? "";
          return decisionId;
        };
        await expect.poll(select).not.toBe("");
        const [start, end] = interaction(sequence + 1n, { case: "complete", value: { qualityScore: index % 2 === 0 ? 1 : 0.97 } });
        sequence += 2n;
        const started = { ...start, detail: { case: "start", value: { requestType: "ocr", routingDecisionId: decisionId } } } as const;
        for (const event of [started, end]) stream.send({ case: "event", value: makeEvent({ ...event, mcpId: "b-boaster" }) });
        await stream.untilAcks(Number(sequence));
        const audit = create(AuditDecisionRequestSchema, { decisionId, quality: 0, auditor: "golden-set" });
        const { response } = await callUnary(atFirst, RoutingService.method.auditDecision, audit);
        expect(response).toMatchObject({ mcpId: "b-boaster", counted: true });
      }
      // Twenty audits against as many words of its own: without them its quality would stay where it is assumed to be.
      const qualityAt = async (client: Client) => (await seenAt(client, "b-boaster"))?.signals?.quality ?? 1;
      await expect.poll(() => qualityAt(atSecond)).toBeLessThan(0.3);
      await expect.poll(() => qualityAt(atFirst)).toBeLessThan(0.3);
    } finally {
      stream.halfClose();
      await stream.ended;
      atFirst.close();
      atSecond.close();
    }
  });

  story("both route over the whole fleet by what all of it does, also after one of them is killed", async () => {
    const [atFirst, atSecond] = [openGrpcClient(first.target), openGrpcClient(second.target)];
    const streams: RawStream[] = [];
    try {
      const failing = await connect(atFirst, "a-failing");
      streams.push(failing, await connect(atFirst, "a-well"), await connect(atSecond, "b-well"));
      const isWhole = (row: readonly (string | undefined)[]) => ["a-failing", "a-well", "b-well"].every((mcpId) => row.includes(mcpId));
      await untilChosen(atFirst, 40, isWhole);
      await untilChosen(atSecond, 40, isWhole);

      // What it does is reported to the first coordinator only.
      for (let index = 0; index < 8; index += 1) {
        const events = interaction(BigInt(2 * index + 1), {
          case: "error",
          value: { errorType: "internal", errorCode: "BROKEN", errorMessage: "it broke" },
        });
        for (const event of events) failing.send({ case: "event", value: makeEvent({ ...event, mcpId: "a-failing" }) });
      }
      expect((await failing.untilAcks(16)).map(({ status }) => status)).toEqual(Array.from({ length: 16 }, () => EventStatus.STORED));
      // The first one ejects it; the second one, which has heard of no failure of its own, is told and does the same.
      expect(await seenAt(atFirst, "a-failing")).toMatchObject({ state: "ejected" });
      await expect
        .poll(() => seenAt(atSecond, "a-failing"), { timeout: 25_000 })
        .toMatchObject({ state: "ejected", excludedBecause: "ejected" });
      await untilChosen(atSecond, 30, (row) => !row.includes("a-failing") && row.includes("a-well") && row.includes("b-well"));
      expect(await seenAt(atSecond, "a-well")).toMatchObject({ excludedBecause: "" });

      first.signal("SIGKILL");
      await first.exited;
      streams.push(await connect(atSecond, "a-well"), await connect(atSecond, "a-failing"));
      // What it was told is forgotten after seconds, and then the MCP is on probation: it does not come back as if nothing had been.
      expect(["ejected", "probing"]).toContain((await seenAt(atSecond, "a-failing"))?.state);
      await untilChosen(atSecond, 30, (row) => !row.includes("a-failing") && row.includes("a-well") && row.includes("b-well"));
    } finally {
      for (const stream of streams) stream.cancel();
      atFirst.close();
      atSecond.close();
    }
    expect(await first.exited).toBe("SIGKILL");
  });
});
