import type { RedisCommand, RedisConnection } from "./redis-connection.js";

/** Something that a user of Redis has to be allowed: its name for people, and a command that asks for the same right and changes nothing. */
export type RedisRight = { readonly name: string; readonly attempt: RedisCommand };

/** The right to add to a stream. No stream takes this id, so that nothing is added, and no key is made. */
export const rightToAdd = (stream: string): RedisRight => ({ name: `XADD to ${stream}`, attempt: ["xadd", stream, "0-0", "attempt", ""] });

/**
 * The names of those that the user of a connection does not have. Asks by trying: a user who may report may seldom ask for its ACL. Any other refusal says
 * nothing about rights, and is met again by who uses them.     Errors: RedisFault when no answer comes.
 */
export async function missingRights(
  { pipeline }: Pick<RedisConnection, "pipeline">,
  rights: readonly RedisRight[],
): Promise<readonly string[]> {
  const answers = await pipeline(rights.map(({ attempt }) => attempt));
  return rights.filter((_, i) => isDenied(answers[i])).map(({ name }) => name);
}

const isDenied = (answer: Awaited<ReturnType<RedisConnection["pipeline"]>>[number] | undefined): boolean =>
  answer?.kind === "refused" && answer.fault.code === "NOPERM";

/** What is wrong and what to do about it, in one line. `missing` is not empty. */
export const denialOf = (missing: readonly string[]): string =>
  `the Redis user may not ${missing.join(", nor ")}; grant it by the ACL in docs/redis.md, "Permissions"`;
