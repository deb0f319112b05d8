import fc from "fast-check";
import type { RedisReply } from "../../src/platform/redis-connection.js";

/** A string as the driver gives it. */
export const bytes = (text: string): RedisReply => Buffer.from(text);

const leaf = fc.oneof(
  fc.constant<RedisReply>(null),
  fc.integer().map((n): RedisReply => n),
  fc.string().map(bytes),
);

/** Whatever a Redis, or what stands in its place, may answer: five levels deep at most. */
export const { reply: anyReply } = fc.letrec<{ reply: RedisReply }>((tie) => ({
  reply: fc.oneof({ maxDepth: 5 }, leaf, fc.array(tie("reply"), { maxLength: 4 })),
}));
