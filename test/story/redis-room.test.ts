import { describe, expect, test } from "vitest";
import { createRedisTransport } from "../../src/client/transports/redis.js";
import type { OutgoingEvent } from "../../src/client/transports/transport.js";
import { readerKey } from "../../src/interaction/redis-contract.js";
import { seededRng } from "../../src/platform/rng.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { makeEvent } from "../support/make-event.js";
import { ManualClock } from "../support/manual-clock.js";
import { redisSkipReason, startRedis } from "../support/redis.js";

const outgoing = (): OutgoingEvent => {
  const eventId = mintUuidV7();
  return { eventId, event: makeEvent({ interactionId: `i-${eventId}` }) };
};

describe.skipIf(redisSkipReason())("a stream that is full", () => {
  test("is said to have room again when it has, also where nothing else has changed", async () => {
    await using redis = await startRedis();
    const stream = "room";
    await redis.client.set(readerKey(stream), "a coordinator");
    let changes = 0;
    const onChange = (): void => {
      changes += 1;
    };
    const clock = new ManualClock(1_000_000);
    const surroundings = { clock, rng: seededRng(1) };
    const transport = createRedisTransport(
      { url: redis.url, stream, maxLen: 2, ...surroundings },
      { onSettled: () => undefined, onChange },
    );
    await transport.probe();
    // How long the stream is comes with the answer to what is added to it.
    await expect.poll(() => transport.offer([outgoing()])).toBe(0);
    expect(transport.health().state).toBe("up");
    await redis.client.xtrim(stream, "MAXLEN", 0);
    const before = changes;
    await transport.probe();
    expect(changes).toBeGreaterThan(before);
    expect(transport.offer([outgoing()])).toBe(1);
    const stopped = transport.stop(0);
    await clock.advance(0);
    await stopped;
  });
});
