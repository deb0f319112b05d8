/**
 * The load: one process, N streams with W events in flight each, sent as fast as acks come back. The same loop for every server; a server that knows
 * ACK_MODE_COALESCED gets it, the others answer EACH. Takes its task as JSON in argv, prints its result as one line of JSON.
 */

import { create } from "@bufbuild/protobuf";
import { EventStatus } from "../gen/mcp/coordinator/v1/events_pb.js";
import type { StreamInteractionsResponse } from "../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { AckMode, Capability, HelloSchema } from "../gen/mcp/coordinator/v1/session_pb.js";
import { createConnection, type SessionCall } from "../src/client/connect.js";
import { createLatencies } from "../src/client/latencies.js";
import { encodeControlFrame, encodeEventFrame } from "../src/client/wire/frames.js";
import { createEventBytes, firstSequence } from "./event-bytes.js";

export type LoadTask = {
  readonly target: string;
  readonly ackMode: "each" | "coalesced";
  readonly streams: number;
  readonly window: number;
  readonly batch: number;
  readonly payloadBytes: number;
  /** Not measured. */
  readonly warmupMs: number;
  /** Measured time; undefined: until `events` are acknowledged. */
  readonly measureMs: number | undefined;
  readonly events: number | undefined;
};

export type LoadResult = {
  readonly events: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** CPU time of this process per second of wall time. */
  readonly cpuShare: number;
  /** Events per second in each tenth of `events`; empty when the time was the limit. */
  readonly tenths: readonly number[];
  /** Events acknowledged in each whole second of the measured time. */
  readonly series: readonly number[];
};

type Load = { acked: number; isStopped: boolean; onAcked: () => void };
const latencies = createLatencies();
const argument = process.argv[2];
if (argument === undefined) throw new Error("load-client needs a task");
// Written by bench/rows.ts in the same run.
const task = JSON.parse(argument) as LoadTask;
process.stdout.write(`${JSON.stringify(await run(task))}\n`);
process.exit(0);

async function run(task: LoadTask): Promise<LoadResult> {
  const load: Load = { acked: 0, isStopped: false, onAcked: () => undefined };
  let isMeasuring = false;
  for (let index = 0; index < task.streams; index++) openStream(task, index, load, () => isMeasuring);
  await sleep(task.warmupMs);
  isMeasuring = true;
  const before = load.acked;
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const tenths: number[] = [];
  const series: number[] = [];
  let counted = before;
  const everySecond = setInterval(() => {
    series.push(load.acked - counted);
    counted = load.acked;
  }, 1_000);
  if (task.measureMs !== undefined) await sleep(task.measureMs);
  else await untilAcked(load, before, task.events ?? 0, tenths);
  const seconds = (performance.now() - startedAt) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  const events = load.acked - before;
  load.isStopped = true;
  clearInterval(everySecond);
  return {
    events,
    seconds,
    perSecond: events / seconds,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    maxMs: latencies.max(),
    cpuShare: (cpu.user + cpu.system) / 1e6 / seconds,
    tenths,
    series,
  };
}

function untilAcked(load: Load, before: number, events: number, tenths: number[]): Promise<void> {
  return new Promise((resolve) => {
    let lastAt = performance.now();
    let lastCount = before;
    load.onAcked = () => {
      if (load.acked - before < ((tenths.length + 1) * events) / 10) return;
      const now = performance.now();
      tenths.push(((load.acked - lastCount) * 1000) / (now - lastAt));
      lastAt = now;
      lastCount = load.acked;
      if (tenths.length === 10) resolve();
    };
  });
}

function openStream(task: LoadTask, index: number, load: Load, isMeasuring: () => boolean): void {
  const name = `s${String(index).padStart(3, "0")}p${process.pid}`;
  const events = createEventBytes(`bench-${index}`, index, name, task.payloadBytes);
  const call = createConnection({ target: task.target, key: undefined }).openSession();
  const ring = 1 << Math.ceil(Math.log2(task.window * 2));
  const sentAt = new Float64Array(ring);
  let next = firstSequence;
  let inFlight = 0;
  let isWritable = true;
  /** Of the coordinator; servers that are compared with it have no windows. */
  let granted = Number.POSITIVE_INFINITY;
  const pump = () => {
    while (isWritable && !load.isStopped) {
      // It promises flow control, so it keeps the window: a full batch, or what a window smaller than one allows.
      const window = Math.min(task.window, granted);
      const size = Math.min(task.batch, window);
      if (size < 1 || inFlight + size > window) return;
      const batch: Buffer[] = [];
      const now = performance.now();
      for (let count = 0; count < size; count++, next++) {
        sentAt[next & (ring - 1)] = now;
        batch.push(events.next(next));
      }
      inFlight += size;
      isWritable = call.write(encodeEventFrame(batch));
    }
  };
  const acked = (sequence: number) => {
    inFlight--;
    load.acked++;
    if (isMeasuring()) latencies.record(performance.now() - (sentAt[sequence & (ring - 1)] ?? 0));
  };
  call.on("drain", () => {
    isWritable = true;
    pump();
  });
  call.on("error", (error) => {
    if (!load.isStopped) fail(`stream ${index} ended: ${error.message}`);
  });
  call.on("data", (frame: StreamInteractionsResponse) => {
    granted = grantedBy(frame) ?? granted;
    settle(frame, acked);
    load.onAcked();
    pump();
  });
  greet(call, task, index, name);
}

function greet(call: SessionCall, task: LoadTask, index: number, name: string): void {
  const value = create(HelloSchema, {
    mcpId: `bench-${index}`,
    producerId: name,
    ackMode: task.ackMode === "coalesced" ? AckMode.COALESCED : AckMode.EACH,
    capabilities: [Capability.FLOW_CONTROL],
  });
  call.write(encodeControlFrame({ case: "hello", value }));
}

function grantedBy({ frame }: StreamInteractionsResponse): number | undefined {
  if (frame.case === "welcome") return frame.value.flowControl?.maxUnackedEvents;
  return frame.case === "flowControl" ? frame.value.maxUnackedEvents : undefined;
}

function settle({ frame }: StreamInteractionsResponse, acked: (sequence: number) => void): void {
  if (frame.case === "eventAck") {
    if (frame.value.status !== EventStatus.STORED)
      fail(`event ${frame.value.eventId}: ${EventStatus[frame.value.status]} ${JSON.stringify(frame.value.violations)}`);
    acked(Number(frame.value.sequence));
  } else if (frame.case === "eventAckBatch") {
    const [exception] = frame.value.exceptions;
    if (exception !== undefined)
      fail(`event ${exception.eventId}: ${EventStatus[exception.status]} ${JSON.stringify(exception.violations)}`);
    for (const range of frame.value.ranges) for (let at = Number(range.first); at <= Number(range.last); at++) acked(at);
  }
}

function fail(message: string): never {
  process.stderr.write(`load-client: ${message}\n`);
  process.exit(1);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
