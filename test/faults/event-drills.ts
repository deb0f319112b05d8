import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { InteractionService, VerifyEventsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { createKey } from "../../src/auth/new-key.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { type Audit, addAudits, claim, emptyAudit } from "./audit.js";
import { between, type Drill, type DrillContext, oneOf } from "./fault.js";
import { EventLedger, statusName } from "./ledger.js";
import { Load } from "./load.js";
import { orderly, planInteraction, plannedId, shuffle } from "./plan.js";
import { keepsCommitTimes } from "./read-store.js";
import { openSite, type Site, sleep } from "./site.js";
import { auditAll, reportOverGrpc, reportOverHttp, seatOf } from "./ways-in.js";

const dayMs = 86_400_000;

/** Events that should not be, or not like this: repeated, out of order, refused. */
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
];

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

/** Runs `task` for each item, `atOnce` at a time. */
async function eachOf<T>(atOnce: number, items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await task(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
