import fc from "fast-check";
import { describe, expect } from "vitest";
import type { EventKind, Facts, NewEvent } from "../../src/interaction/event.js";
import { mergeEvents } from "../../src/interaction/merge.js";
import { type ProducerOpened, StoreFault } from "../../src/store/store.js";
import { freshId, freshName, newEvent } from "../support/new-event.js";
import { storeKinds } from "../support/open-store.js";
import { tellStories } from "../support/store-stories.js";

const dayMs = 86_400_000;

const faultOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );

describe.each(storeKinds)("appending to the $kind store", (each) => {
  const at = tellStories(each);
  const kindsOf = async (events: readonly NewEvent[]): Promise<readonly string[]> =>
    (await at.store.append(0, events)).map((outcome) => outcome.kind);

  const opened = async (producerId: string, mcpId: string): Promise<ProducerOpened> => {
    const producer = await at.store.openProducer(producerId, mcpId, freshName("s"), "c");
    if (producer === undefined) throw new Error("the producer belongs to another MCP");
    return producer;
  };

  at.story("answers in the order given, whatever the order of the ids", async () => {
    const interactionId = freshName("i");
    const [first, second, third] = [3, 1, 2].map((ms) => newEvent({ interactionId, eventId: freshId(Date.now() + ms) }));
    if (first === undefined || second === undefined || third === undefined) throw new Error("three events");
    await at.store.append(0, [second]);
    expect(await kindsOf([first, second, third])).toEqual(["stored", "duplicate", "stored"]);
    const { events } = await at.store.readEvents("mcp", interactionId, { maxCount: 10 });
    expect(events.map((event) => event.eventId)).toEqual([second.eventId, third.eventId, first.eventId].sort());
  });

  at.story("an event that is sent again is a duplicate, with the time of its first commit", async () => {
    const event = newEvent({ interactionId: freshName("i") });
    const [first] = await at.store.append(0, [event]);
    expect(first).toMatchObject({ kind: "stored" });
    expect(await at.store.append(0, [event])).toEqual([{ ...first, kind: "duplicate" }]);
    expect(await at.store.readInteraction("mcp", event.interactionId)).toMatchObject({ eventCount: 1 });
  });

  at.story("other content under a stored id is a conflict, and the first content stays", async () => {
    const event = newEvent({ interactionId: freshName("i"), body: '{"n":1}' });
    await at.store.append(0, [event]);
    expect(await kindsOf([{ ...event, body: '{"n":2}', digest: "f".repeat(32) }])).toEqual(["conflict"]);
    expect((await at.store.readEvents("mcp", event.interactionId, { maxCount: 10 })).events).toMatchObject([{ body: { n: 1 } }]);
  });

  at.story("one MCP cannot take the ids of another", async () => {
    const event = newEvent({ interactionId: freshName("i") });
    expect(await kindsOf([event, newEvent({ ...event, mcpId: freshName("other") })])).toEqual(["stored", "stored"]);
  });

  at.story("gives back text, JSON and bytes as they came", async () => {
    const text = `quote " backslash \\ comma , brace } NULL {" \n\t é 漢 🦊`;
    const body = JSON.stringify({ text, deep: [1.5, null, true, { a: "\\" }] });
    const event = newEvent({
      interactionId: `${freshName("i")} ${text}`,
      mcpId: `mcp ${text}`,
      body,
      raw: Uint8Array.from([0, 1, 34, 92, 255]),
      occurredAtUs: Date.now() * 1000 + 123,
    });
    await at.store.append(0, [event]);
    const [read] = (await at.store.readEvents(event.mcpId, event.interactionId, { maxCount: 10 })).events;
    expect(read).toMatchObject({ interactionId: event.interactionId, body: JSON.parse(body), occurredAtUs: event.occurredAtUs });
    expect([...(read?.raw ?? [])]).toEqual([0, 1, 34, 92, 255]);
    expect(await at.store.findEvents(event.mcpId, [event.eventId, freshId(Date.now())])).toMatchObject([
      { eventId: event.eventId, digest: event.digest },
    ]);
  });

  at.story("a session's cursor follows its events and never goes back", async () => {
    const [producerId, mcpId] = [freshName("p"), freshName("mcp")];
    const { epoch } = await opened(producerId, mcpId);
    const send = (sequence: bigint) =>
      at.store.append(0, [newEvent({ mcpId, producerId, epoch, sequence, interactionId: freshName("i") })]);
    await send(7n);
    await send(3n);
    expect(await at.store.readProducer(producerId, mcpId)).toBe(7n);
    expect(await at.store.readProducer(producerId, "another")).toBeUndefined();
    expect(await opened(producerId, mcpId)).toMatchObject({ epoch: epoch + 1, resumeSequence: 7n, isKnown: true });
  });

  at.story("a superseded session stores nothing more and moves no cursor, while its successor does", async () => {
    const [producerId, mcpId, interactionId] = [freshName("p"), freshName("mcp"), freshName("i")];
    const old = await opened(producerId, mcpId);
    const next = await opened(producerId, mcpId);
    const event = (epoch: number, sequence: bigint) => newEvent({ mcpId, interactionId, producerId, epoch, sequence });
    expect(await kindsOf([event(old.epoch, 9n), event(next.epoch, 1n), event(0, 0n)])).toEqual(["fenced", "stored", "stored"]);
    expect(await at.store.readProducer(producerId, mcpId)).toBe(1n);
    expect((await at.store.readEvents(mcpId, interactionId, { maxCount: 10 })).events).toHaveLength(2);
  });

  at.story("an opened producer says who had it before and how long it was silent, and its epoch can be asked for", async () => {
    const [producerId, mcpId] = [freshName("p"), freshName("mcp")];
    expect(await at.store.openProducer(producerId, mcpId, "s-1", "c")).toMatchObject({ silentMs: 0, supersededSessionId: "" });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const again = await at.store.openProducer(producerId, mcpId, "s-2", "c");
    expect(again?.supersededSessionId).toBe("s-1");
    expect(again?.silentMs).toBeGreaterThan(0);
    expect(again?.silentMs).toBeLessThan(60_000);
    expect(await at.store.readEpochs([producerId, freshName("unknown")])).toEqual(new Map([[producerId, 2]]));
  });

  at.story("producers that are opened at once get an epoch each, and of one producer the later Hello gets the greater one", async () => {
    const [mcpId, twice] = [freshName("mcp"), freshName("p")];
    const many = Array.from({ length: 1_200 }, () => freshName("p"));
    const owned = freshName("p");
    await opened(owned, freshName("owner"));
    const open = (producerId: string, session: string) => at.store.openProducer(producerId, mcpId, session, "c");
    const answers = await Promise.all([open(twice, "s-1"), ...many.map((id) => open(id, "s")), open(owned, "s"), open(twice, "s-2")]);
    expect(answers.at(0)).toMatchObject({ epoch: 1, supersededSessionId: "" });
    expect(answers.at(-1)).toMatchObject({ epoch: 2, supersededSessionId: "s-1" });
    expect(answers.at(-2), "the producer of another MCP").toBeUndefined();
    expect(new Set(answers.slice(1, -2).map((answer) => answer?.epoch))).toEqual(new Set([1]));
  });

  at.story("one MCP can neither open the producer of another nor fence it", async () => {
    const [producerId, mcpId] = [freshName("p"), freshName("mcp")];
    const { epoch } = await opened(producerId, mcpId);
    expect(await at.store.openProducer(producerId, freshName("thief"), "s", "c")).toBeUndefined();
    expect(await kindsOf([newEvent({ mcpId, producerId, epoch, sequence: 1n })])).toEqual(["stored"]);
  });

  at.story("a batch that cannot be stored is poison and leaves nothing behind", async () => {
    const poisons: Readonly<Record<string, Partial<NewEvent>>> = {
      "NUL in JSON": { body: '{"a":"\\u0000"}' },
      "a lone surrogate in JSON": { body: '{"a":"\\ud800"}' },
      "a number out of range": { body: '{"a":1e400000}' },
      "no JSON": { body: "{" },
      "a date out of range": { occurredAtUs: 9e24 },
      "a day without a partition": { eventId: freshId(Date.now() - 100 * dayMs) },
      "no UUID": { eventId: "nonsense" },
    };
    for (const [name, poison] of Object.entries(poisons)) {
      const interactionId = freshName("i");
      const fault = await faultOf(at.store.append(0, [newEvent({ interactionId }), newEvent({ interactionId, ...poison })]));
      expect(fault, name).toBeInstanceOf(StoreFault);
      expect(fault, name).toMatchObject({ kind: "poison" });
      expect((await at.store.readEvents("mcp", interactionId, { maxCount: 10 })).events, name).toEqual([]);
    }
    const nul = newEvent({ mcpId: "mcp\0", interactionId: freshName("i") });
    expect(await faultOf(at.store.append(0, [nul]))).toMatchObject({ kind: "poison" });
    await at.store.setAside({ ...nul, body: '{"a":"\\u0000"}' }, "NUL \0 and \ud800");
    expect(await kindsOf([newEvent()])).toEqual(["stored"]);
  });

  at.story("any order, repetition and splitting of an interaction's events merges to the same state as the pure function", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(eventArbitrary, { minLength: 1, maxLength: 12 }), fc.infiniteStream(fc.nat()), async (drafts, choices) => {
        const interactionId = freshName("i");
        const events = drafts.map((draft) => newEvent({ ...draft, eventId: freshId(Date.now() - draft.ageMs), interactionId }));
        const next = (below: number): number => (choices.next().value ?? 0) % below;
        const queue = [...events, ...events.filter(() => next(3) === 0)].sort(() => next(3) - 1);
        while (queue.length > 0) {
          const batch = queue.splice(0, 1 + next(5));
          await at.store.append(0, [...new Map(batch.map((event) => [event.eventId, event])).values()]);
        }
        const {
          mcpId: _,
          interactionId: __,
          ...merged
        } = (await at.store.readInteraction("mcp", interactionId)) ?? { mcpId: "", interactionId: "" };
        expect(merged).toEqual(mergeEvents(events));
      }),
      { numRuns: each.kind === "postgres" ? 300 : 100 },
    );
  });

  at.story("batches of several lanes that meet on the same interactions and producers all commit", async () => {
    const mcpId = freshName("mcp");
    const producers = ["a", "b", "c"].map(() => freshName("p"));
    const epochs = new Map<string, number>();
    for (const producerId of producers) epochs.set(producerId, (await opened(producerId, mcpId)).epoch);
    const batches = Array.from({ length: 40 }, (_, batch) =>
      Array.from({ length: 50 }, (_, index) => {
        const producerId = producers[(batch + index) % 3] ?? "";
        return newEvent({
          mcpId,
          interactionId: `i-${(index * 7 + batch) % 10}`,
          producerId,
          epoch: epochs.get(producerId) ?? 0,
          sequence: BigInt(batch),
        });
      }),
    );
    const outcomes = await Promise.all(batches.map((batch, index) => at.store.append(index % at.store.laneCount, batch)));
    expect(new Set(outcomes.flat().map((outcome) => outcome.kind))).toEqual(new Set(["stored"]));
    const counts = await Promise.all(Array.from({ length: 10 }, (_, index) => at.store.readInteraction(mcpId, `i-${index}`)));
    expect(counts.reduce((sum, interaction) => sum + (interaction?.eventCount ?? 0), 0)).toBe(2_000);
  });

  at.story("the same events sent through two lanes at once are stored once", async () => {
    const interactionId = freshName("i");
    const batch = Array.from({ length: 200 }, () => newEvent({ interactionId }));
    const outcomes = await Promise.all([0, 1, 0, 1].map((lane) => at.store.append(lane % at.store.laneCount, batch)));
    const stored = outcomes.flat().filter((outcome) => outcome.kind === "stored");
    expect(stored).toHaveLength(200);
    expect(await at.store.readInteraction("mcp", interactionId)).toMatchObject({ eventCount: 200 });
  });
});

type EventDraft = { readonly kind: EventKind; readonly facts: Facts; readonly occurredAtUs: number; readonly ageMs: number };

const shortText = fc.constantFrom("", "a", "b", 'quo"te', "back\\slash", "NULL", "漢");
const baseUs = Date.UTC(2026, 10, 20) * 1000;

const noAsk = { routingDecisionId: "", inputBytes: 0, qualityLevel: "", privacyLevel: "" };

const eventArbitrary: fc.Arbitrary<EventDraft> = fc
  .record({
    kind: fc.constantFrom<EventKind>("start", "progress", "complete", "error"),
    // Small ranges, so that times and ids collide and cross in all ways.
    occurredAtUs: fc.integer({ min: 0, max: 50 }).map((micros) => baseUs + micros * 333_333),
    ageMs: fc.integer({ min: 0, max: 5 }),
    texts: fc.tuple(shortText, shortText, shortText),
    success: fc.boolean(),
    durationMs: fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: undefined }),
    qualityScore: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  })
  .map(({ kind, texts: [a, b, c], success, durationMs, qualityScore, ...times }) => {
    if (kind === "start") return { kind, ...times, facts: { ...noAsk, kind, requestType: a, sessionId: b, userPseudonym: c } };
    if (kind === "progress") return { kind, ...times, facts: { kind } };
    const facts: Facts = {
      kind: "terminal",
      success: kind === "complete" && success,
      durationMs,
      qualityScore,
      errorCode: a,
      adapterUsed: b,
    };
    return { kind, ...times, facts };
  });
