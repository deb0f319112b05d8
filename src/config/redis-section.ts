import { z } from "zod";
import { settingNotes, text, whole } from "./rules.js";
import { escapeHint, isRedisUrl } from "./url-rules.js";

/** `[redis]`: the stream that brings reports. */
export const redis = z.strictObject({
  url: z
    .string({ error: redisUrlRule() })
    .regex(/^rediss?:\/\/\S+$/, redisUrlRule())
    .refine(isRedisUrl, `must look like redis://user:password@host:6379/0, ${escapeHint}`)
    .optional()
    .register(settingNotes, {
      doc: "Redis 7 whose stream brings reports; docs/redis.md is the contract for producers. Without it no stream is read",
      reason: "Redis is one more thing to run, and gRPC and HTTP need none",
      isSecret: true,
    }),
  stream: streamName("a name of 1 to 128 bytes").default("mcp:interactions").register(settingNotes, {
    doc: "Key of the stream. Dead letters, verdicts and the sign of life are kept under keys that begin with it",
    reason: "says what is in it",
  }),
  group: text("a name of 1 to 256 bytes").default("mcp-coordinators").register(settingNotes, {
    doc: "Consumer group; coordinators with the same one share the stream",
    reason: "all coordinators of one database do the same work",
  }),
  consumer: text("a name of 1 to 256 bytes").optional().register(settingNotes, {
    doc: "Name of this coordinator in the group; no two may use one at the same time",
    reason: "unique without being told",
    defaultText: "`server.coordinator_id`",
  }),
  count: whole(1, 1_000).default(100).register(settingNotes, {
    doc: "Most entries of one read",
    reason: "the figure of the specification's transport document",
    unit: "entries",
  }),
  blockMs: whole(10, 60_000).default(1_000).register(settingNotes, {
    doc: "How long a read waits for entries; a drain may have to wait as long",
    reason: "the figure of the specification's transport document",
    unit: "milliseconds",
  }),
  maxLen: whole(100, 1_000_000_000).default(100_000).register(settingNotes, {
    doc: "The stream is trimmed when it is half as long; producers that hold back do so at the whole. Only of entries that every group has acknowledged, never of one that waits",
    reason: "`maxlen` of the specification's transport document",
    unit: "entries",
  }),
  claimIdleMs: whole(100, 86_400_000).default(60_000).register(settingNotes, {
    doc: "Entries that another consumer was given so long ago and has not touched since are taken over",
    reason: "longer than a restart; a coordinator that lives touches what it holds every third of it",
    unit: "milliseconds",
  }),
  maxDeliveries: whole(1, 1_000).default(5).register(settingNotes, {
    doc: "An entry that was delivered more often goes to the dead letters",
    reason: "what kills five coordinators kills the sixth",
    unit: "deliveries",
  }),
});

/** What Redis keys begin with: short enough that the longest of them is still an id. */
function streamName(what: string) {
  const rule = `must be ${what}, without white space`;
  return z.string({ error: rule }).regex(/^\S+$/, rule).max(128, rule);
}

function redisUrlRule(): string {
  return "must be a URL that begins with redis:// or rediss://";
}
