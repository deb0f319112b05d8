import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventStatus, InteractionState } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { GetInteractionRequestSchema, InteractionService } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Capability, DrainReason } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { openLedgerFile } from "../../src/client/ledger-file.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { RawStream } from "../support/raw-stream.js";

const story = it.runIf(findPostgres().kind === "found");
const eventsPerInteraction = 3;

/** A start, a progress, an end, and again. */
function detailOf(index: number): NonNullable<EventInit["detail"]> {
  switch (index % eventsPerInteraction) {
    case 0:
      return { case: "start", value: {} };
    case 1:
      return { case: "progress", value: { fraction: 0.5 } };
    default:
      return { case: "complete", value: { processingTime: { seconds: 1n } } };
  }
}

describe("two coordinators on one Postgres", () => {
  let postgres: RunningPostgres;
  let first: RunningCoordinator;
  let second: RunningCoordinator;
  let dir = "";
  beforeAll(async () => {
    if (findPostgres().kind !== "found") return;
    dir = mkdtempSync(join(tmpdir(), "mcpc-two-"));
    postgres = await startPostgres();
    first = await startCoordinatorProcess({ databaseUrl: postgres.url });
    second = await startCoordinatorProcess({ databaseUrl: postgres.url });
  });
  afterAll(async () => {
    await first?.stop();
    await second?.stop();
    await postgres?.[Symbol.asyncDispose]();
    if (dir !== "") rmSync(dir, { recursive: true, force: true });
  });

  story("an MCP goes on at the other by one number, and what the first one still gets of it is fenced", async () => {
    const [atFirst, atSecond] = [openGrpcClient(first.target), openGrpcClient(second.target)];
    const hello = { mcpId: "mover", producerId: mintUuidV7(), capabilities: [Capability.DRAIN] };
    const old = new RawStream(atFirst);
    old.send({ case: "hello", value: hello });
    expect((await old.first("welcome")).value.resumeAfterSequence).toBe(0n);
    for (let sequence = 1n; sequence <= 5n; sequence++) old.send({ case: "event", value: sequenced(sequence) });
    await old.untilAcks(5);
    const fresh = new RawStream(atSecond);
    fresh.send({ case: "hello", value: hello });
    expect((await fresh.first("welcome")).value.resumeAfterSequence).toBe(5n);
    old.send({ case: "event", value: sequenced(6n) });
    expect((await old.first("drainNotice")).value.reason).toBe(DrainReason.FENCED);
    old.halfClose();
    fresh.send({ case: "event", value: sequenced(6n) });
    expect((await fresh.untilAcks(1))[0]).toMatchObject({ status: EventStatus.STORED, sequence: 6n });
    fresh.halfClose();
    expect((await fresh.ended).code).toBe(0);
    expect((await old.ended).code).toBe(0);
    // None when its coordinator had looked before the event came: then the stream was over.
    for (const late of old.acks.slice(5)) expect(late).toMatchObject({ status: EventStatus.FENCED, retryable: false });
    const request = create(GetInteractionRequestSchema, { mcpId: "mover", interactionId: "moved" });
    const { response } = await callUnary(atFirst, InteractionService.method.getInteraction, request);
    expect(response?.interaction?.eventCount).toBe(6);
    atFirst.close();
    atSecond.close();
  });

  story("clients that know both ride through a restart of each: no stream fails, nothing is lost or stored twice", async () => {
    const path = join(dir, "ledger.jsonl");
    using ledger = openLedgerFile(path);
    const ports = [first, second].map(({ target }) => target.split(":")[1] ?? "");
    const sessions = Array.from({ length: 6 }, (_, index) => {
      const targets = index % 2 === 0 ? [first.target, second.target] : [second.target, first.target];
      return createStreamSession({
        endpoint: { target: targets.join(","), key: undefined },
        mcpId: `rider-${index}`,
        onSettled: (settled) => ledger.settled(settled),
      });
    });
    let reportedCount = 0;
    let isReporting = true;
    const reporting = (async () => {
      for (; isReporting || reportedCount % eventsPerInteraction !== 0; reportedCount++) {
        // No faster than the slowest of them is served: a full outbox would take nothing.
        while (sessions.some(({ unresolvedCount }) => unresolvedCount > 1_000)) await new Promise((resolve) => setTimeout(resolve, 20));
        for (const [index, session] of sessions.entries()) {
          const eventId = mintUuidV7();
          const interactionId = `ride-${Math.floor(reportedCount / eventsPerInteraction)}`;
          const { mcpId: _, ...event } = makeEvent({ eventId, interactionId, detail: detailOf(reportedCount) });
          ledger.sent(eventId, `rider-${index}`, interactionId, encodeEvent(event));
          expect(session.report(event)).toBe(eventId);
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    await expect.poll(() => sessions.every(({ counters }) => counters.stored > 0)).toBe(true);
    first = await restart(first, ports[0] ?? "");
    await expect.poll(() => sessions.every(({ state }) => state.kind === "active")).toBe(true);
    second = await restart(second, ports[1] ?? "");
    await expect.poll(() => sessions.every(({ counters, state }) => counters.reconnects > 0 && state.kind === "active")).toBe(true);
    isReporting = false;
    await reporting;
    for (const session of sessions) {
      expect(await session.flush()).toBe(true);
      expect(await session.close()).toEqual({ kind: "done" });
      const { stored, duplicate, rejected } = session.counters;
      expect({ settled: stored + duplicate, rejected, failure: session.lastFailure }).toEqual({
        settled: reportedCount,
        rejected: 0,
        failure: undefined,
      });
    }
    ledger.flush();
    const { code, stdout } = await runCli(["verify", path, "--target", second.target, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ ok: reportedCount * sessions.length, lost: 0, duplicated: 0, unexpected: 0, differing: 0 });
    expect(code).toBe(0);
    const client = openGrpcClient(first.target);
    for (let at = 0; at < reportedCount / eventsPerInteraction; at++) {
      const request = create(GetInteractionRequestSchema, { mcpId: "rider-3", interactionId: `ride-${at}` });
      const { response } = await callUnary(client, InteractionService.method.getInteraction, request);
      expect(response?.interaction).toMatchObject({
        eventCount: 3,
        state: InteractionState.COMPLETED,
        missingStart: false,
        conflictingTerminal: false,
      });
    }
    client.close();
  });

  /** Ends one in good order and starts it again on its port. */
  async function restart(coordinator: RunningCoordinator, port: string): Promise<RunningCoordinator> {
    coordinator.signal("SIGTERM");
    expect(await coordinator.exited).toBe(0);
    await coordinator.stop();
    return startCoordinatorProcess({ databaseUrl: postgres.url, flags: ["--grpc-port", port] });
  }
});

function sequenced(sequence: bigint): EventInit {
  const { mcpId: _, ...event } = makeEvent({ eventId: mintUuidV7(), sequence, interactionId: "moved" });
  return event;
}
