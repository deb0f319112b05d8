import { readFileSync } from "node:fs";
import { create, createFileRegistry, type DescMessage, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type EventAck, EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  InteractionService,
  type ReportInteractionsRequest,
  ReportInteractionsRequestSchema,
  ReportInteractionsResponseSchema,
  StreamInteractionsRequestSchema,
  StreamInteractionsResponseSchema,
  VerifyEventsRequestSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { createKey } from "../../src/auth/new-key.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { type Audit, addAudits, audit, claim, emptyAudit } from "./audit.js";
import { between, type Drill, type DrillContext, oneOf } from "./fault.js";
import { EventLedger, statusName } from "./ledger.js";
import { Load } from "./load.js";
import { type PlannedEvent, planInteraction, plannedId, shuffle } from "./plan.js";
import { keepsCommitTimes, readInteractions, readRows } from "./read-store.js";
import { openSite, type Seat, type Site, sleep } from "./site.js";

const dayMs = 86_400_000;
/** Of no enum value that this version knows. */
const unknownNumber: number = 999;
const orderly = { shuffled: 0, repeated: 0, rivalled: 0, invalid: 0, twoEnds: 0, headless: 0 };

/** Events that should not be, or not like this: repeated, out of order, at the wrong time, from another version of the contract. */
export const eventDrills: readonly Drill[] = [
  {
    kind: "drill",
    id: "F16",
    title: "every event one to five times, through streams, unary calls and HTTP of every coordinator at once",
    run: async (context) => {
      const { site, rng, seed } = context;
      const mcpId = `copies-${seed.toString(36)}`;
      const ledger = new EventLedger();
      const events = Array.from({ length: 400 }, (_, index) => planInteraction(rng, `r-${index}`, Date.now(), orderly))
        .flat()
        .map(({ planned }) => planned);
      const copies = events.flatMap((planned) => Array.from({ length: between(rng, 1, 6) }, () => planned));
      shuffle(rng, copies);
      const ways = [...site.seats.map((seat) => reportOverGrpc(seat)), ...site.seats.map((seat) => reportOverHttp(seat))];
      const batches = Array.from({ length: Math.ceil(copies.length / 25) }, (_, index) => copies.slice(index * 25, index * 25 + 25));
      await eachOf(8, batches, async (batch) => {
        for (const planned of batch) ledger.note(planned, mcpId, mcpId);
        const acks = await oneOf(rng, ways)(
          mcpId,
          batch.map(({ init }) => init),
        );
        for (const ack of acks) ledger.settleAck(ack, Date.now());
      });
      const acked = ledger.ackedTotal;
      const found = await auditAll(site, ledger, mcpId);
      return {
        what: `${copies.length} copies of ${events.length} events over ${ways.length} ways in`,
        injected: 1,
        acked,
        audit: found,
        verdicts: ledger.verdicts,
      };
    },
  },
  {
    kind: "drill",
    id: "F17",
    title: "every interaction shuffled: ends before starts, no starts, two ends",
    run: async (context) => {
      const { site, seed } = context;
      const shares = { shuffled: 1, repeated: 0.1, rivalled: 0, invalid: 0, twoEnds: 0.3, headless: 0.2 };
      await using load = new Load({
        target: site.target,
        sessions: 8,
        perSecond: 6_000,
        seed,
        name: `order-${seed.toString(36)}`,
        shares,
        admin: site.admin,
      });
      load.start();
      await sleep(8_000 * context.scale);
      const isSettled = await load.settle(60_000);
      const found = await load.auditRound(site.admin, await keepsCommitTimes(site.admin), isSettled);
      const acked = load.ledger.ackedTotal;
      return {
        what: `${found.checked.I4} interactions merged in random order`,
        injected: 1,
        acked,
        audit: found,
        verdicts: load.ledger.verdicts,
      };
    },
  },
  {
    kind: "drill",
    id: "F18",
    title: "the same id with other content, and every refusal twice: the answer never changes",
    run: async (context) => {
      await using keyed = await openKeyedSite();
      const { site, key } = keyed;
      const ledger = new EventLedger();
      const report = reportOverGrpc(seatOf(site), key);
      const cases = refusedEvents(context);
      let found: Audit = emptyAudit;
      for (const [status, event] of cases) {
        const answers = [await report("ocr", [event]), await report("ocr", [event])].map(([ack]) => ack);
        for (const ack of answers) if (ack !== undefined) ledger.settleAck(ack, Date.now());
        const wrong = answers.every((ack) => ack?.status === status && ack.retryable === answers[0]?.retryable);
        found = addAudits(
          found,
          claim(
            "I10",
            wrong
              ? undefined
              : `expected ${statusName(status)} twice, got ${answers.map((ack) => statusName(ack?.status ?? 0)).join(" and ")}`,
          ),
        );
      }
      const first = makeEvent({
        mcpId: "ocr",
        interactionId: "rivals",
        eventId: plannedId(context.rng, Date.now()),
        labels: { mark: "first" },
      });
      const rival = { ...first, labels: { mark: "rival" } };
      const statuses: EventStatus[] = [];
      for (const event of [first, rival, first, rival]) {
        for (const ack of await report("ocr", [event])) {
          statuses.push(ack.status);
          ledger.settleAck(ack, Date.now());
        }
      }
      const { STORED, CONFLICT, DUPLICATE } = EventStatus;
      const expected = [STORED, CONFLICT, DUPLICATE, CONFLICT];
      found = addAudits(
        found,
        claim("I10", statuses.join() === expected.join() ? undefined : `rivals met ${statuses.map(statusName).join(", ")}`),
      );
      const [row] = await site.admin<
        { mark: string }[]
      >`SELECT body #>> '{labels,mark}' AS mark FROM interaction_event WHERE event_id = ${first.eventId ?? ""}::uuid`;
      found = addAudits(found, claim("I1", row?.mark === "first" ? undefined : `the first content did not stay: ${row?.mark}`));
      const unknown = create(VerifyEventsRequestSchema, { mcpId: "ocr", eventIds: [plannedId(context.rng, Date.now())] });
      const client = openGrpcClient(`127.0.0.1:${seatOf(site).port}`);
      const { response } = await callUnary(client, InteractionService.method.verifyEvents, unknown, { authorization: `Bearer ${key}` });
      client.close();
      for (const ack of response?.acks ?? []) ledger.settleAck(ack, Date.now());
      // With the store gone: a call is told so, and so is one for which there is no room.
      site.link.set("hold");
      const full = await fillUp(site, key, ledger);
      site.link.reset();
      site.link.set("pass");
      return {
        what: `${cases.length} kinds of refusal twice, rivals of one id; ${full}`,
        injected: cases.length + 2,
        audit: found,
        verdicts: ledger.verdicts,
      };
    },
  },
  {
    kind: "drill",
    id: "F19",
    title: "clocks off by an hour and by ten years, of clients and of the coordinator",
    run: async ({ site, rng, seed }) => {
      const mcpId = `skew-${seed.toString(36)}`;
      const ledger = new EventLedger();
      const seat = seatOf(site);
      const report = reportOverGrpc(seat);
      const offsets = [-3_650 * dayMs, -3_600_000, 0, 3_600_000, 3_650 * dayMs];
      let found: Audit = emptyAudit;
      let injected = 0;
      for (const coordinatorMs of offsets) {
        await seat.setClockAheadMs(coordinatorMs);
        for (const clientMs of offsets) {
          const atMs = Date.now() + clientMs;
          const [planned] = planInteraction(rng, `r-${injected}`, atMs, orderly).map((one) => one.planned);
          if (planned === undefined) continue;
          ledger.note(planned, mcpId, mcpId);
          const [ack] = await report(mcpId, [planned.init]);
          if (ack !== undefined) ledger.settleAck(ack, Date.now());
          injected += 1;
          const wanted = expectedUnderSkew(clientMs - coordinatorMs, coordinatorMs);
          const isRight = ack !== undefined && wanted.includes(ack.status);
          const what = `coordinator ${coordinatorMs / 3_600_000} h, client ${clientMs / 3_600_000} h ahead: ${statusName(ack?.status ?? 0)}, not ${wanted.map(statusName).join(" or ")}`;
          found = addAudits(found, claim("I10", isRight ? undefined : what));
        }
      }
      await seat.setClockAheadMs(0);
      await sleep(200);
      const after = makeEvent({ mcpId, interactionId: "after", eventId: plannedId(rng, Date.now()) });
      const [ack] = await report(mcpId, [after]);
      found = addAudits(
        found,
        claim("I8", ack?.status === EventStatus.STORED ? undefined : `after the clocks were right again: ${statusName(ack?.status ?? 0)}`),
      );
      return {
        what: `${injected} pairs of clocks`,
        injected,
        acked: ledger.ackedTotal,
        audit: addAudits(found, await auditAll(site, ledger, mcpId)),
        verdicts: ledger.verdicts,
      };
    },
  },
  {
    kind: "drill",
    id: "F20",
    title: "events on both sides of midnight, retried a day later, and events of a day that was dropped",
    run: async (context) => {
      const config = "[store]\nretention_days = 1\ndedupe_horizon_days = 1\nmaintenance_interval_seconds = 10\n";
      await using site = await openSite({ seats: 1, config });
      const { rng } = context;
      const mcpId = "midnight";
      const ledger = new EventLedger();
      const seat = seatOf(site);
      const report = reportOverGrpc(seat);
      const midnightMs = Math.floor(Date.now() / dayMs) * dayMs;
      const events = [midnightMs - 1, midnightMs, midnightMs - 1, midnightMs + 1].flatMap((atMs, index) => planAt(rng, `r-${index}`, atMs));
      const send = async (): Promise<readonly EventAck[]> => {
        for (const planned of events) ledger.note(planned, mcpId, mcpId);
        const acks = await report(
          mcpId,
          events.map(({ init }) => init),
        );
        for (const ack of acks) ledger.settleAck(ack, Date.now());
        return acks;
      };
      // At noon of the day, so that both sides are within the horizon whenever this runs.
      await seat.setClockAheadMs(midnightMs + dayMs / 2 - Date.now());
      const first = await send();
      const again = await send();
      const all = (acks: readonly EventAck[], status: EventStatus): string | undefined =>
        acks.every((ack) => ack.status === status)
          ? undefined
          : `expected ${statusName(status)}, got ${acks.map((ack) => statusName(ack.status)).join(", ")}`;
      let found = addAudits(
        claim("I1", all(first, EventStatus.STORED), events.length),
        claim("I1", all(again, EventStatus.DUPLICATE), events.length),
      );
      found = addAudits(found, await auditAll(site, ledger, mcpId));
      // Two days on, both days are beyond the horizon, and maintenance has dropped them.
      await seat.setClockAheadMs(midnightMs + 3.5 * dayMs - Date.now());
      const old = await send();
      found = addAudits(found, claim("I10", all(old, EventStatus.TOO_OLD), events.length));
      const partitions = async (): Promise<number> =>
        (
          await site.admin<
            { count: number }[]
          >`SELECT count(*)::int AS count FROM pg_inherits WHERE inhparent = 'interaction_event'::regclass`
        )[0]?.count ?? 0;
      const before = await partitions();
      const [dropped] = await waitForDrop(site, midnightMs);
      found = addAudits(found, claim("I8", dropped ? undefined : "maintenance did not drop a day that is past retention"));
      const fresh = makeEvent({
        mcpId,
        interactionId: "fresh",
        occurredAt: timestampFromMs(midnightMs + 3.5 * dayMs),
        eventId: plannedId(rng, midnightMs + 3.5 * dayMs),
      });
      const [ack] = await report(mcpId, [fresh]);
      found = addAudits(
        found,
        claim("I8", ack?.status === EventStatus.STORED ? undefined : `an event of that day: ${statusName(ack?.status ?? 0)}`),
      );
      return {
        what: `${events.length} events around midnight three times, ${before} partitions before maintenance`,
        injected: 3,
        audit: found,
        verdicts: ledger.verdicts,
      };
    },
  },
  {
    kind: "drill",
    id: "F29",
    title: "version skew: a client of the frozen contract, and one from the future",
    run: async ({ site, rng, seed }) => {
      const seat = seatOf(site);
      const client = openGrpcClient(`127.0.0.1:${seat.port}`);
      const frozen = createFileRegistry(
        fromBinary(FileDescriptorSetSchema, readFileSync(new URL("../../.ci/contract-v0.1.0.binpb", import.meta.url))),
      );
      const schemaOf = (name: string): DescMessage => {
        const found = frozen.getMessage(`mcp.coordinator.v1.${name}`);
        if (found === undefined) throw new Error(`the frozen contract has no ${name}`);
        return found;
      };
      const old = new RawStream(client);
      const fromOld = (json: JsonValue): boolean =>
        old.sendBytes(toBinary(schemaOf("StreamInteractionsRequest"), fromJson(schemaOf("StreamInteractionsRequest"), json)));
      fromOld({
        hello: {
          mcpId: "old",
          producerId: `old-${seed}`,
          capabilities: ["CAPABILITY_FLOW_CONTROL", "CAPABILITY_ROUTING", "CAPABILITY_DRAIN"],
          ackMode: "ACK_MODE_COALESCED",
        },
      });
      for (let sequence = 1; sequence <= 50; sequence += 1) {
        fromOld({
          event: {
            eventId: plannedId(rng, Date.now()),
            sequence: String(sequence),
            interactionId: `old-${sequence}`,
            occurredAt: new Date().toISOString(),
            start: { requestType: "search" },
          },
        });
      }
      await old.until((frames) => frames.find((frame) => frame.case === "eventAckBatch" && frame.value.resolvedThroughSequence === 50n));
      // Every answer must be readable with the frozen contract, and say the same.
      const unread = old.frames.filter((frame) => {
        const response = create(StreamInteractionsResponseSchema);
        response.frame = frame;
        const bytes = toBinary(StreamInteractionsResponseSchema, response);
        return fromBinary(schemaOf("StreamInteractionsResponse"), bytes).$unknown !== undefined;
      });
      let found = claim(
        "I1",
        unread.length === 0 ? undefined : `${unread.length} frames hold what the frozen contract does not know at their top`,
        old.frames.length,
      );
      old.halfClose();
      const oldEnd = await old.ended;
      found = addAudits(found, claim("I8", oldEnd.code === 0 ? undefined : `the old client ended with ${oldEnd.code}`));

      const future = new RawStream(client);
      const unknownField = Buffer.from([0xc2, 0x3e, 3, 1, 2, 3]); // field 1000, three bytes
      const hello = create(StreamInteractionsRequestSchema, {
        frame: {
          case: "hello",
          value: {
            mcpId: "future",
            producerId: `future-${seed}`,
            maxProtocolVersion: 99,
            ackMode: unknownNumber,
            capabilities: [unknownNumber, Capability.FLOW_CONTROL],
          },
        },
      });
      future.sendBytes(Buffer.concat([toBinary(StreamInteractionsRequestSchema, hello), unknownField]));
      const welcome = await future.first("welcome");
      future.sendBytes(unknownField); // a frame of which this version knows nothing
      const event = create(StreamInteractionsRequestSchema, {
        frame: {
          case: "event",
          value: makeEvent({ mcpId: "future", interactionId: "f", sequence: 1n, eventId: plannedId(rng, Date.now()) }),
        },
      });
      future.sendBytes(toBinary(StreamInteractionsRequestSchema, event));
      const [ack] = await future.untilAcks(1);
      const notice = future.frames.find((frame) => frame.case === "serverNotice");
      found = addAudits(
        found,
        claim("I1", ack?.status === EventStatus.STORED ? undefined : `the future client's event met ${statusName(ack?.status ?? 0)}`),
      );
      found = addAudits(
        found,
        claim(
          "I8",
          welcome.value.protocolVersion === 1 && notice !== undefined
            ? undefined
            : "an unknown frame was not noticed, or the version is not 1",
        ),
      );
      future.halfClose();
      const end = await future.ended;
      found = addAudits(found, claim("I8", end.code === 0 ? undefined : `the future client ended with ${end.code}`));
      client.close();
      return {
        what: "50 events from the frozen contract; unknown frame, fields, capability, ack mode and version from the future",
        injected: 6,
        acked: 51,
        audit: found,
      };
    },
  },
];

/** A way to report a batch: one call. */
type Way = (mcpId: string, events: readonly EventInit[]) => Promise<readonly EventAck[]>;

function reportOverGrpc(seat: Seat, key?: string): Way {
  return async (mcpId, events) => {
    const client = openGrpcClient(`127.0.0.1:${seat.port}`);
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const { response, end } = await callUnary(client, InteractionService.method.reportInteractions, requestOf(mcpId, events), headers);
    client.close();
    if (response === undefined) throw new Error(`ReportInteractions ended with ${end.code} ${end.message}`);
    return response.acks;
  };
}

function reportOverHttp(seat: Seat): Way {
  return async (mcpId, events) => {
    const answer = await fetch(`${seat.webUrl}/${InteractionService.typeName}/ReportInteractions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(toJson(ReportInteractionsRequestSchema, requestOf(mcpId, events))),
    });
    return fromJson(ReportInteractionsResponseSchema, (await answer.json()) as JsonValue).acks;
  };
}

function requestOf(mcpId: string, events: readonly EventInit[]): ReportInteractionsRequest {
  return create(ReportInteractionsRequestSchema, {
    mcpId,
    producerId: mcpId,
    events: events.map((event) => ({ ...event, mcpId: event.mcpId ?? mcpId })),
  });
}

function planAt(rng: DrillContext["rng"], interactionId: string, atMs: number): readonly PlannedEvent[] {
  return planInteraction(rng, interactionId, atMs, orderly).map(({ planned }) => planned);
}

async function auditAll(site: Site, ledger: EventLedger, mcpId: string): Promise<Audit> {
  const hasCommitTimes = await keepsCommitTimes(site.admin);
  return audit(
    [...ledger.entries.values()],
    await readRows(site.admin, [mcpId], "r-", hasCommitTimes),
    await readInteractions(site.admin, [mcpId], "r-"),
  );
}

function seatOf(site: Site): Seat {
  const [seat] = site.seats;
  if (seat === undefined) throw new Error("a site has a coordinator at least");
  return seat;
}

/**
 * What an event meets whose clock is so far ahead of the coordinator's. The defaults: ten minutes ahead, seven days behind. A coordinator that is years
 * off accepts events of its own time and then finds no partition for them: refused, never stored in a wrong one.
 */
function expectedUnderSkew(aheadMs: number, coordinatorMs: number): readonly EventStatus[] {
  if (aheadMs > 600_000) return [EventStatus.CLOCK_SKEW];
  if (aheadMs < -7 * dayMs) return [EventStatus.TOO_OLD];
  return Math.abs(coordinatorMs) > 7 * dayMs ? [EventStatus.INVALID] : [EventStatus.STORED];
}

/** A site whose coordinator asks for a key, which is bound to the MCP "ocr". */
async function openKeyedSite(): Promise<AsyncDisposable & { readonly site: Site; readonly key: string }> {
  const { key, sha256 } = createKey();
  const config = `[[auth.keys]]\nid = "ocr"\nmcp_id = "ocr"\nsha256 = "${sha256}"\n`;
  const site = await openSite({ seats: 1, config });
  return { site, key, [Symbol.asyncDispose]: () => site[Symbol.asyncDispose]() };
}

/** One event for each verdict that does not depend on anything but the event and the time. */
function refusedEvents({ rng }: DrillContext): readonly (readonly [EventStatus, EventInit])[] {
  const nowMs = Date.now();
  const base = (): EventInit => makeEvent({ mcpId: "ocr", interactionId: "refused", eventId: plannedId(rng, nowMs) });
  return [
    [EventStatus.INVALID, { ...base(), interactionId: "" }],
    [EventStatus.INVALID, { ...base(), eventId: "not-a-uuid" }],
    [EventStatus.INVALID, { ...base(), labels: { ["k".repeat(65)]: "v" } }],
    [EventStatus.TOO_LARGE, { ...base(), labels: { big: "x".repeat(300 * 1024) } }],
    [EventStatus.TOO_OLD, { ...base(), eventId: plannedId(rng, nowMs - 40 * dayMs) }],
    [EventStatus.CLOCK_SKEW, { ...base(), occurredAt: timestampFromMs(nowMs + 40 * dayMs) }],
    [EventStatus.CLOCK_SKEW, { ...base(), eventId: plannedId(rng, nowMs + 40 * dayMs) }],
    [EventStatus.PERMISSION_DENIED, { ...base(), mcpId: "someone-else" }],
  ];
}

/** Offers more than there is room for while the store does not answer: some calls are told UNAVAILABLE, those beyond the room OVERLOADED. */
async function fillUp(site: Site, key: string, ledger: EventLedger): Promise<string> {
  const seen = new Map<EventStatus, number>();
  const report = reportOverGrpc(seatOf(site), key);
  const batch = (call: number): EventInit[] =>
    Array.from({ length: 500 }, (_, index) =>
      makeEvent({ mcpId: "ocr", interactionId: `full-${call}-${index}`, labels: { filler: "x".repeat(200) } }),
    );
  await Promise.all(
    Array.from({ length: 60 }, async (_, call) => {
      for (const ack of await report("ocr", batch(call))) {
        ledger.settleAck(ack, Date.now());
        seen.set(ack.status, (seen.get(ack.status) ?? 0) + 1);
      }
    }),
  );
  return [...seen].map(([status, count]) => `${count} ${statusName(status)}`).join(", ");
}

/** Waits until the partition of the day before midnight is gone. */
async function waitForDrop(site: Site, midnightMs: number): Promise<readonly [boolean]> {
  const name = `interaction_event_${new Date(midnightMs - 1).toISOString().slice(0, 10).replaceAll("-", "")}`;
  for (const untilMs = performance.now() + 25_000; performance.now() < untilMs; await sleep(500)) {
    const rows = await site.admin`SELECT 1 FROM pg_class WHERE relname = ${name}`;
    if (rows.length === 0) return [true];
  }
  return [false];
}

/** Runs `task` for each item, `atOnce` at a time. */
async function eachOf<T>(atOnce: number, items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await task(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
