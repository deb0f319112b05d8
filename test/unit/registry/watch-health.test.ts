import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { Directory } from "../../../src/registry/directory.js";
import type { ProbeResult } from "../../../src/registry/probe-health.js";
import { HealthWatch } from "../../../src/registry/watch-health.js";
import { type StoredMcp, unsaidProfile } from "../../../src/store/registry-rows.js";
import { ManualClock, turn } from "../../support/manual-clock.js";
import { plainMcpConfig } from "../../support/mcp-config.js";

const intervalMs = 10_000;
const log = pino({ level: "silent" });

const mcpOf = (index: number, more: Partial<StoredMcp> = {}): StoredMcp => ({
  ...{ mcpId: `mcp-${index}`, name: "mcp", version: "1.0.0", instance: `${index}`, source: "register" },
  profile: { ...unsaidProfile, healthCheck: `http://10.0.0.1:${1_000 + index}/health` },
  ...{ config: plainMcpConfig, configVersion: 1, health: "unknown", keyId: "", keySha256: "", registeredAtMs: 0, revision: index + 1 },
  lease: { state: "alive", steadyBeats: 0, neededBeats: 1 },
  ...more,
});

/** A watch over these registrations whose checks end when the test says so, or at once with `answer`. */
async function watchOver(mcps: readonly StoredMcp[], answer?: ProbeResult, isOwner: (mcpId: string) => boolean = () => true) {
  const clock = new ManualClock(0);
  const asked: { readonly url: string; readonly atMs: number; readonly end: (result: ProbeResult) => void }[] = [];
  const written: string[] = [];
  const directory = new Directory({
    ...{ clock, log, isShared: false },
    readMcpChanges: async () => ({ revision: mcps.length, floor: 0, mcps }),
  });
  await directory.start();
  const watch = new HealthWatch({
    ...{ directory, isOwner, intervalMs, clock, rng: seededRng(7), log },
    probe: (url) =>
      new Promise((resolve) => {
        asked.push({ url: url.href, atMs: clock.monotonicMs(), end: resolve });
        if (answer !== undefined) resolve(answer);
      }),
    setMcpHealth: async (mcpId, health) => {
      written.push(`${mcpId} ${health}`);
    },
  });
  watch.start();
  return { clock, asked, written, watch };
}

const passed: ProbeResult = { kind: "passed" };

describe("the watch over health endpoints", () => {
  it("has no more checks under way than its bound, and takes the next when one ends", async () => {
    const count = 3 * limits.healthChecksAtOnce;
    const { clock, asked, watch } = await watchOver(Array.from({ length: count }, (_, index) => mcpOf(index)));
    await clock.advance(10 * limits.leaseTickMs);
    expect(asked).toHaveLength(limits.healthChecksAtOnce);
    for (let ended = 0; ended < count; ended += 1) {
      asked[ended]?.end(passed);
      await turn();
      expect(asked.length).toBe(Math.min(count, ended + 1 + limits.healthChecksAtOnce));
    }
    expect(new Set(asked.map(({ url }) => url)).size).toBe(count);
    await watch.close();
  });

  it("asks each at its own pace, a quarter earlier or later each time, so that a fleet is not asked in one beat", async () => {
    const { clock, asked, watch } = await watchOver(
      Array.from({ length: 8 }, (_, index) => mcpOf(index)),
      passed,
    );
    await clock.advance(60 * intervalMs);
    const gaps: number[] = [];
    for (const url of new Set(asked.map((one) => one.url))) {
      const times = asked.filter((one) => one.url === url).map(({ atMs }) => atMs);
      gaps.push(...times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0)));
    }
    expect(gaps.length).toBeGreaterThan(8 * 40);
    // What is due is looked for once in a tick.
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0.75 * intervalMs);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1.25 * intervalMs + limits.leaseTickMs);
    expect(new Set(gaps).size).toBeGreaterThan(3);
    await watch.close();
  });

  it("asks those that have an endpoint, live, and were last heard here, and nobody else", async () => {
    const dead = mcpOf(1, { lease: { state: "dead", steadyBeats: 0, neededBeats: 1 } });
    const mute = mcpOf(2, { profile: unsaidProfile });
    const { clock, asked, written, watch } = await watchOver([mcpOf(0), dead, mute, mcpOf(3)], passed, (mcpId) => mcpId !== "mcp-3");
    await clock.advance(5 * intervalMs);
    expect(new Set(asked.map(({ url }) => url))).toEqual(new Set(["http://10.0.0.1:1000/health"]));
    expect(written[0]).toBe("mcp-0 healthy");
    await watch.close();
  });
});
