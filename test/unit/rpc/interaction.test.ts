import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import {
  GetInteractionRequestSchema,
  GetInteractionResponseSchema,
  VerifyEventsRequestSchema,
} from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { createIngest } from "../../../src/ingest/ingest.js";
import { parseInteractionId, parseMcpId } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { createInteractionHandlers, type InteractionDeps } from "../../../src/rpc/interaction.js";
import { noonMs } from "../../support/draft.js";
import { GatedStore } from "../../support/gated-store.js";
import { ManualClock } from "../../support/manual-clock.js";
import { interactionOf } from "../../support/rpc-ports.js";

/** Handlers over a store that has nothing and remembers what it was asked. */
function openHandlers(more: Partial<InteractionDeps["store"]> = {}) {
  const asked: string[] = [];
  const answer =
    <T>(question: string, value: T) =>
    async (): Promise<T> => {
      asked.push(question);
      return value;
    };
  const store: InteractionDeps["store"] = {
    findEvents: answer("events", []),
    tallyInteractions: answer("tallies", []),
    readProducer: answer("producer", 7n),
    readInteraction: answer("interaction", undefined),
    readEvents: answer("log", { events: [], hasMore: false }),
    ...more,
  };
  const gated = new GatedStore();
  const clock = new ManualClock(noonMs);
  const ingest = createIngest({
    store: { laneCount: 1, append: gated.append, setAside: gated.setAside },
    pseudonym: (id) => id,
    maxClockSkewMs: 0,
    dedupeHorizonMs: 86_400_000,
    clock,
    rng: () => 1,
    log: pino({ level: "silent" }),
  });
  return { asked, handlers: createInteractionHandlers({ ingest, store, clock }) };
}

const context = {
  principal: { kind: "anyone" },
  signal: new AbortController().signal,
  requestId: "r",
  timeoutMs: undefined,
} as const;

describe("VerifyEvents", () => {
  const id = "019aa5f0-0000-7000-8000-000000000000";
  const sound = { mcpId: "ocr", producerId: "p", eventIds: [id], interactionIds: ["a", "b"] };
  const cases: readonly [string, MessageInitShape<typeof VerifyEventsRequestSchema>, string][] = [
    ["NUL in mcp_id", { mcpId: "o\0cr" }, "mcp_id"],
    ["NUL in producer_id", { producerId: "p\0" }, "producer_id"],
    ["an id that is too long among interaction_ids", { interactionIds: ["a", "x".repeat(257)] }, "interaction_ids[1]"],
  ];

  it.each(cases)("names the field of %s, and asks the store nothing", async (_, more, field) => {
    const { handlers, asked } = openHandlers();
    const request = create(VerifyEventsRequestSchema, { ...sound, ...more });
    await expect(handlers.verifyEvents(request, context)).rejects.toMatchObject({ code: "invalid", fields: [{ field }] });
    expect(asked).toEqual([]);
  });

  it("answers for each id in the order they were asked", async () => {
    const { handlers, asked } = openHandlers();
    const response = await handlers.verifyEvents(create(VerifyEventsRequestSchema, sound), context);
    expect(response.acks.map(({ eventId }) => eventId)).toEqual([id]);
    expect(response.interactions.map(({ interactionId }) => interactionId)).toEqual(["a", "b"]);
    expect(response.resumeAfterSequence).toBe(7n);
    expect(asked.sort()).toEqual(["events", "producer", "tallies"]);
  });
});

describe("GetInteraction", () => {
  it("gives the first events that a frame can hold, in order", async () => {
    // Numbers take several times the bytes on the wire that they take as JSON, by which the store counts.
    const body = { progress: { data: { json: { n: Array.from({ length: 20_000 }, () => 1) } } } };
    const events = Array.from({ length: 20 }, (_, i) => ({
      eventId: `019aa5f0-0000-7000-8000-0000000000${String(i).padStart(2, "0")}`,
      mcpId: parseMcpId("ocr"),
      interactionId: parseInteractionId("i-1"),
      producerId: "",
      sequence: 0n,
      occurredAtUs: noonMs * 1_000,
      body: structuredClone(body),
      raw: undefined,
    }));
    const { handlers } = openHandlers({
      readInteraction: async () => interactionOf("ocr", "i-1", 1),
      readEvents: async (_mcpId, _interactionId, { afterId = "" }) => ({
        events: events.filter(({ eventId }) => eventId > afterId),
        hasMore: false,
      }),
    });
    const ask = (pageToken: string, interactionId = "i-1") =>
      handlers.getInteraction(
        create(GetInteractionRequestSchema, { mcpId: "ocr", interactionId, includeEvents: true, pageToken }),
        context,
      );
    const response = await ask("");
    const encoded = toBinary(GetInteractionResponseSchema, response).byteLength;
    expect(encoded).toBeLessThan(limits.frameMaxBytes);
    expect(encoded).toBeGreaterThan(limits.pageMaxBytes / 2);
    const read = response.events.map(({ eventId }) => eventId);
    for (let next = response.nextPageToken; next !== ""; ) {
      const page = await ask(next);
      read.push(...page.events.map(({ eventId }) => eventId));
      next = page.nextPageToken;
    }
    expect(read, "the pages together are all events, each once").toEqual(events.map(({ eventId }) => eventId));
    await expect(ask(response.nextPageToken, "i-2")).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
    await expect(ask("no token")).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID", fields: [{ field: "page_token" }] });
  });
});
