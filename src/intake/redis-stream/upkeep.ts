import { limits } from "../../platform/limits.js";
import type { RedisLink, StreamPlace } from "./link.js";

/** Removes entries that every group has acknowledged. `neededFrom` and everything after it stays. Errors: RedisFault when there is no answer. */
export async function trimAcknowledged(link: RedisLink, { stream }: StreamPlace, neededFrom: string): Promise<void> {
  await link.pipeline([["xtrim", stream, "MINID", "~", neededFrom]]);
}

/**
 * Forgets consumers of coordinators that are gone: each has a name of its own, and they would gather in Redis. In one script, because a consumer may only
 * go while it has nothing pending: with it would go what is.     Where scripts are forbidden they stay. Errors: RedisFault when there is no answer.
 */
export async function forgetConsumers(link: RedisLink, { stream, group, consumer }: StreamPlace): Promise<void> {
  await link.pipeline([["eval", forgetScript, 1, stream, group, consumer, limits.redisConsumerMaxIdleMs]]);
}

const forgetScript = `
local forgotten = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local one = {}
  for i = 1, #flat, 2 do one[flat[i]] = flat[i + 1] end
  if one.name ~= ARGV[2] and one.pending == 0 and one.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one.name)
    forgotten = forgotten + 1
  end
end
return forgotten`;
