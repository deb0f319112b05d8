import { pino } from "pino";
import { expect, it } from "vitest";
import { flowOf } from "../../../src/ingest/fair-queue.js";
import { createIngest } from "../../../src/ingest/ingest.js";
import { reportOnce } from "../../../src/ingest/report.js";
import { limits } from "../../../src/platform/limits.js";
import { draftOf, noonMs } from "../../support/draft.js";
import { eventOf } from "../../support/event.js";
import { GatedStore } from "../../support/gated-store.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

it("a full queue refuses the calls of who has events waiting, all of a call or none, and takes those of others", async () => {
  const clock = new ManualClock(noonMs);
  const store = new GatedStore();
  const ingest = createIngest({
    store: { laneCount: 1, append: store.append, setAside: store.setAside },
    pseudonym: (id) => `u_${id}`,
    maxClockSkewMs: 600_000,
    dedupeHorizonMs: 7 * 86_400_000,
    clock,
    rng: () => 1,
    log: pino({ level: "silent" }),
  });
  const { queue } = ingest;
  const place = queue.placeOf("any", flowOf("mcp", "flood"));
  const event = eventOf({ mcpId: "flood" });
  const receivedAtMs = clock.monotonicMs();
  const origin = { settled: () => {}, flushed: () => {} };
  for (let i = 0; i < limits.pendingMaxEvents; i += 1) queue.offer(place, { event: { ...event, eventId: `${i}` }, origin, receivedAtMs });
  const bearer = { principal: { kind: "anyone" }, mcpId: "", producerId: "", epoch: 0, labels: {}, source: "grpc" } as const;
  const patience = { signal: new AbortController().signal, timeoutMs: undefined };
  const report = (...mcpIds: string[]) =>
    reportOnce(
      ingest,
      clock,
      mcpIds.map((mcpId) => ingest.accept(bearer, draftOf({ mcpId, interactionId: "i" }))),
      patience,
    ).then((verdicts) => verdicts.map(({ status }) => status));
  expect(await report("flood")).toEqual(["overloaded"]);
  expect(await report("modest", "flood")).toEqual(["overloaded", "overloaded"]);
  const answered = report("modest");
  expect(await report("modest")).toEqual(["overloaded"]);
  await turn();
  await store.last.resolve();
  await store.last.resolve();
  expect(await answered).toEqual(["stored"]);
  queue.close();
});
