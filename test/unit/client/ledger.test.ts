import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventAckSchema, EventStatus } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { Ledger } from "../../../src/client/ledger.js";
import { Outbox } from "../../../src/client/outbox.js";
import { limits } from "../../../src/platform/limits.js";
import { noonMs } from "../../support/draft.js";
import { ManualClock } from "../../support/manual-clock.js";

/** How long an event rests that was refused for now, with this delay. Unit: ms. */
function restOf(retryDelay: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  const clock = new ManualClock(noonMs);
  const outbox = new Outbox({ maxEvents: 10, maxBytes: 10_000 });
  const ledger = new Ledger(outbox, { clock, rng: () => 0.5, onSettled: undefined });
  ledger.report({ interactionId: "i-1" });
  ledger.take({ maxEvents: 10, maxBytes: 10_000 }, { maxEvents: 10, maxBytes: 10_000 });
  const refusal = { sequence: 1n, status: EventStatus.CLOCK_SKEW, retryable: true };
  ledger.judge(create(EventAckSchema, retryDelay === undefined ? refusal : { ...refusal, retryDelay }));
  return (outbox.restUntilMs ?? Number.NaN) - clock.monotonicMs();
}

test("an event that is refused for now rests as long as the coordinator asks", () => {
  expect(restOf({ seconds: 3n, nanos: 0 })).toBe(3_000);
});

test.each([
  { name: "no delay", delay: undefined },
  { name: "a delay of 0", delay: { seconds: 0n, nanos: 0 } },
  { name: "a negative delay", delay: { seconds: -3n, nanos: 0 } },
])("with $name it rests at our own pace", ({ delay }) => {
  expect(restOf(delay)).toBe(limits.reconnectBackoff.firstMs * 1.5);
});
