import fc from "fast-check";
import { pino } from "pino";
import { expect, it } from "vitest";
import { createIngest } from "../../../src/ingest/ingest.js";
import type { HttpCall } from "../../../src/intake/http/call.js";
import { envelopeOf } from "../../../src/intake/http/envelope.js";
import { routes } from "../../../src/intake/http/routes.js";
import { takeReports } from "../../../src/intake/http/take-reports.js";
import { HttpTally } from "../../../src/intake/http/tally.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { noonMs } from "../../support/draft.js";
import { ManualClock } from "../../support/manual-clock.js";

const clock = new ManualClock(noonMs);
const ingest = createIngest({
  store: {
    laneCount: 3,
    append: async (_lane, events) => events.map(() => ({ kind: "stored", storedAtMs: noonMs })),
    setAside: async () => {},
  },
  pseudonym: (id) => `u_${id}`,
  maxClockSkewMs: 600_000,
  dedupeHorizonMs: 7 * 86_400_000,
  clock,
  rng: () => 1,
  log: pino({ level: "silent" }),
});
const tally = new HttpTally(clock);
const answers = routes.find(({ id }) => id === "report")?.answers ?? {};

function callOf(body: unknown): HttpCall {
  const rest = { query: new URLSearchParams(), requestId: "r", signal: new AbortController().signal };
  return { raw: Object.create(null), principal: { kind: "anyone" }, body, ...rest }; // a route that takes a body does not look at the raw request
}

const report = fc.record(
  {
    action: fc.constantFrom("start", "interaction_progress", "report_interaction_complete", "interaction_error", "pause"),
    interaction_id: fc.oneof(fc.string(), fc.constant("i")),
    mcp_id: fc.constantFrom("ocr", ""),
    timestamp: fc.oneof(fc.constant(noonMs / 1_000), fc.constant(new Date(noonMs).toISOString()), fc.jsonValue()),
    data: fc.jsonValue(),
    result_data: fc.oneof(fc.jsonValue(), fc.record({ success: fc.boolean(), quality_score: fc.double() }, { requiredKeys: [] })),
    request_data: fc.jsonValue(),
  },
  { requiredKeys: [] },
);
const body = fc.oneof(report, fc.array(report, { maxLength: 5 }), fc.jsonValue(), fc.record({ events: fc.array(fc.jsonValue()) }));

it("whatever is posted gets an answer that is documented, and is counted once", async () => {
  await fc.assert(
    fc.asyncProperty(body, async (value) => {
      const before = tally.figures("up", "");
      const answer = await takeReports({ ingest, clock, tally }, callOf(value)).catch((thrown: unknown) => {
        expect(CoordinatorError.from(thrown).code).toBe("invalid"); // an array as a whole; the transport turns it into an answer
        return undefined;
      });
      const after = tally.figures("up", "");
      expect(after.received - before.received).toBeGreaterThan(0);
      expect(after.resolved + after.refused).toBe(after.received);
      if (answer === undefined) return;
      const schema = answers[answer.status];
      const said = envelopeOf(answer, { requestId: "r", nowMs: noonMs, durationMs: 1 });
      expect(schema?.safeParse(JSON.parse(JSON.stringify(said))).error).toBeUndefined();
      expect(answer.status === 200).toBe(after.refused === before.refused);
    }),
    { numRuns: 1_000 },
  );
});
