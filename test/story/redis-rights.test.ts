import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createReporter } from "../../src/client/index.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { type RunningRedis, redisSkipReason, startRedis } from "../support/redis.js";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const stream = "mcp:interactions";

async function until(what: string, found: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = Date.now() + 240_000;
  while (!(await found())) {
    if (Date.now() > untilMs) throw new Error(`not within four minutes: ${what}`);
    await sleep(20);
  }
}

describe.skipIf(redisSkipReason())("users of Redis with fewer rights than they need", () => {
  let redis: RunningRedis;
  const running: RunningCoordinator[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(async () => {
    for (const coordinator of running.splice(0)) await coordinator.stop();
    await redis.client.flushall();
  });
  afterAll(async () => {
    await redis?.[Symbol.asyncDispose]();
  });

  const as = (user: string): string => redis.url.replace("redis://", `redis://${user}:secret@`);
  const grant = (user: string, ...rules: string[]) =>
    redis.client.call("ACL", "SETUSER", user, "reset", "on", ">secret", "-@all", "+ping", "+select", "+client|setname", ...rules);
  const producerRules = [`~${stream}`, `~${stream}:*`, "+xadd", "+xlen", "+xread", "+exists"];
  const coordinatorRules = [`~${stream}`, `~${stream}:*`, "+@stream", "+@transaction", "+set", "+pexpire", "+eval"];

  async function start(url: string): Promise<RunningCoordinator> {
    const coordinator = await startCoordinatorProcess({ config: `[redis]\nurl = "${url}"\nblock_ms = 200\n` });
    running.push(coordinator);
    return coordinator;
  }

  it("a reporter that may add and not read its verdicts adds nothing, says which right is missing, and reports once it has it", async () => {
    await grant("producer", `~${stream}`, "+xadd", "+xlen");
    await start(redis.url);
    await until("a coordinator reads", async () => (await redis.client.exists(`${stream}:reader`)) === 1);
    const lines: string[] = [];
    const troubles: string[] = [];
    const reporter = createReporter({
      ...{ mcpId: "demo", transport: "redis", redisUrl: as("producer"), localCachePath: ":memory:", closeMaxMs: 0 },
      log: pino({}, { write: (line: string) => lines.push(line) }),
      onTrouble: ({ kind }) => troubles.push(kind),
    });
    try {
      reporter.reportStart("i-1", { requestType: "search" });
      await until("the transport is down", () => reporter.state.transports[0]?.denied !== undefined);
      await sleep(1_500); // several tries
      expect(reporter.state.transports[0]).toMatchObject({
        ...{ name: "redis", state: "down", denied: [`XREAD of ${stream}:verdicts:*`] },
        why: expect.stringMatching(/may not XREAD of mcp:interactions:verdicts:\*; grant it .*docs\/redis\.md/),
      });
      expect(await redis.client.xlen(stream)).toBe(0);
      expect(reporter.state.spool.events).toBe(1);
      expect(troubles.filter((kind) => kind === "transport")).toEqual(["transport"]);
      expect(lines.filter((line) => line.includes("may not XREAD"))).toHaveLength(1);
      await grant("producer", ...producerRules);
      expect(await reporter.flush(120_000)).toBe(true);
      expect(reporter.state.counters).toMatchObject({ stored: 1, duplicate: 0 });
      // A right that is taken away again while it reports.
      await grant("producer", `~${stream}`, `~${stream}:*`, "+xlen", "+xread", "+exists");
      reporter.reportComplete("i-1", { success: true });
      await until("the refusal is known", () => reporter.state.transports[0]?.denied?.[0] === `XADD to ${stream}`);
      expect(reporter.state.spool.events).toBe(1);
      await grant("producer", ...producerRules);
      expect(await reporter.flush(120_000)).toBe(true);
      expect(reporter.state.counters).toMatchObject({ stored: 2, setAside: 0 });
    } finally {
      await reporter.close();
    }
  });

  it("a coordinator that may not write verdicts takes nothing, says so once, and takes everything when it may", async () => {
    await grant("coordinator", `~${stream}`, "+@stream", "+@transaction", "+set", "+pexpire", "+eval");
    const coordinator = await start(as("coordinator"));
    const missing = "the Redis user may not XADD to mcp:interactions:dead, nor XADD to mcp:interactions:verdicts:*";
    await until("it says what is missing", () => coordinator.log().includes(missing));
    const replyTo = `${stream}:verdicts:story`;
    const event = { eventId: mintUuidV7(), mcpId: "demo", interactionId: "i-1", start: {} };
    const report = JSON.stringify({ event: { ...event, occurredAt: new Date().toISOString() } });
    await redis.client.xadd(stream, "*", "report", report, "reply_to", replyTo);
    await sleep(1_000); // several tries
    expect(await redis.client.xlen(stream)).toBe(1);
    expect(await redis.client.exists(`${stream}:reader`)).toBe(0);
    expect(coordinator.log().split(missing).length - 1).toBeLessThanOrEqual(2); // one line, which has it as message and in the stack
    await grant("coordinator", ...coordinatorRules);
    await until("the verdict is there", async () => (await redis.client.xlen(replyTo)) === 1);
    const [entry] = await redis.client.xrange(replyTo, "-", "+");
    expect(entry?.[1].join(" ")).toContain("verdict STORED");
  });
});
