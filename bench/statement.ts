/**
 * The ingest statement alone: batches of ready-made events through the store's append, one lane per connection, no stream, no checks, no acks.
 * The ceiling of everything that stores through it. Takes {databaseUrl, measureMs} as JSON in argv, prints {events, perSecond} as JSON.
 */
import { type InteractionId, type McpId, type NewEvent, parseInteractionId, parseMcpId } from "../src/interaction/event.js";
import { systemClock } from "../src/platform/clock.js";
import { limits } from "../src/platform/limits.js";
import { createLog } from "../src/platform/log.js";
import { openStore } from "../src/store/open.js";

export type StatementTask = { readonly databaseUrl: string; readonly warmupMs: number; readonly measureMs: number };
export type StatementResult = { readonly events: number; readonly perSecond: number };

const argument = process.argv[2];
if (argument === undefined) throw new Error("statement needs a task");
// Written by bench/rows.ts in the same run.
const task = JSON.parse(argument) as StatementTask;
process.stdout.write(`${JSON.stringify(await run(task))}\n`);
process.exit(0);

async function run({ databaseUrl, warmupMs, measureMs }: StatementTask): Promise<StatementResult> {
  const log = createLog("error", {});
  const days = { retentionDays: 90, dedupeHorizonDays: 7, maxRecords: 1_000_000_000 };
  const store = await openStore({ databaseUrl, dataDir: "", ...days, clock: systemClock, log });
  let counted = 0;
  let isMeasuring = false;
  let isStopped = false;
  const lane = async (index: number) => {
    const name = `bench-${index}`;
    const mcpId = parseMcpId(name);
    for (let sequence = 1; !isStopped; sequence += limits.commitMaxEvents) {
      await store.append(index, batchOf(mcpId, index, sequence));
      if (isMeasuring) counted += limits.commitMaxEvents;
    }
  };
  const lanes = Array.from({ length: store.laneCount }, (_, index) => lane(index));
  await sleep(warmupMs);
  isMeasuring = true;
  const startedAt = performance.now();
  await sleep(measureMs);
  isMeasuring = false;
  const seconds = (performance.now() - startedAt) / 1000;
  isStopped = true;
  await Promise.all(lanes);
  await store.close();
  return { events: counted, perSecond: counted / seconds };
}

function batchOf(mcpId: McpId, lane: number, first: number): NewEvent[] {
  const nowMs = Date.now();
  return Array.from({ length: limits.commitMaxEvents }, (_, index) => eventOf(mcpId, lane, first + index, nowMs));
}

function eventOf(mcpId: McpId, lane: number, sequence: number, nowMs: number): NewEvent {
  const time = nowMs.toString(16).padStart(12, "0");
  const isStart = sequence % 2 === 0;
  const interactionId: InteractionId = parseInteractionId(`${process.pid}-${lane}-${sequence >> 1}`);
  const tail =
    `${lane.toString(16)}${(process.pid & 0xffffff).toString(16).padStart(6, "0")}`.slice(0, 4) + sequence.toString(16).padStart(8, "0");
  return {
    eventId: `${time.slice(0, 8)}-${time.slice(8)}-7000-8${(process.pid & 0xfff).toString(16).padStart(3, "0")}-${tail}`,
    mcpId,
    interactionId,
    producerId: `bench-${process.pid}-${lane}`,
    epoch: 0,
    sequence: BigInt(sequence),
    resumeSequence: BigInt(sequence),
    kind: isStart ? "start" : "complete",
    occurredAtUs: nowMs * 1000,
    digest: sequence.toString(16).padStart(32, "0"),
    body: isStart
      ? '{"labels":{"environment":"bench"},"start":{"requestType":"chat","userPseudonym":"7d0f0a4a6b5b4f0f","inputBytes":"2048"}}'
      : '{"labels":{"environment":"bench"},"complete":{"processingTime":"1.25s","outputBytes":"4096","qualityScore":0.9}}',
    raw: undefined,
    facts: isStart
      ? {
          kind: "start",
          requestType: "chat",
          sessionId: "",
          userPseudonym: "7d0f0a4a6b5b4f0f",
          routingDecisionId: "",
          inputBytes: 0,
          qualityLevel: "",
          privacyLevel: "",
        }
      : { kind: "terminal", success: true, durationMs: 1_250, qualityScore: 0.9, errorCode: "", adapterUsed: "" },
    source: "grpc",
    costBytes: 600,
    encodedBytes: 190,
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
