import fc from "fast-check";
import { expect, test } from "vitest";
import { type Candidate, type Choice, choiceRules, choose, noChoice, scoreOf } from "../../../src/client/choose.js";
import type { TransportName } from "../../../src/client/transports/transport.js";

const names: readonly TransportName[] = ["grpc", "redis", "http"];
const states = ["idle", "connecting", "up", "down"] as const;
const candidate = (name: TransportName, state: Candidate["state"], isSilent = false): Candidate => ({ name, state, isSilent });
const isUsable = ({ state, isSilent }: Candidate): boolean => state === "up" && !isSilent;

/** What was seen of all transports, and how long after what was seen before. */
const looks = fc.array(
  fc.tuple(
    fc.integer({ min: 1, max: 20_000 }),
    fc.tuple(...names.map((name) => fc.record({ name: fc.constant(name), state: fc.constantFrom(...states), isSilent: fc.boolean() }))),
  ),
  { maxLength: 200 },
);

test("under any sequence, one that can be used is used, but for the grace of one that reconnects", () => {
  fc.assert(
    fc.property(looks, (sequence) => {
      let nowMs = 0;
      let choice: Choice = noChoice;
      let unusableSinceMs: number | undefined;
      for (const [ms, candidates] of sequence) {
        nowMs += ms;
        const before = choice.current;
        choice = choose(choice, candidates, nowMs);
        const chosen = candidates.find(({ name }) => name === choice.current);
        const isChosenUsable = chosen !== undefined && isUsable(chosen);
        if (isChosenUsable || choice.current !== before) unusableSinceMs = undefined;
        else unusableSinceMs ??= nowMs;
        if (isChosenUsable || !candidates.some(isUsable)) continue;
        expect(chosen?.state).toBe("connecting");
        expect(nowMs - (unusableSinceMs ?? nowMs)).toBeLessThan(choiceRules.graceMs);
      }
    }),
  );
});

test("under any sequence, a working one is left only for a better one, not within the dwell, and not before the hold of the better one", () => {
  fc.assert(
    fc.property(looks, (sequence) => {
      let nowMs = 0;
      let choice: Choice = noChoice;
      for (const [ms, candidates] of sequence) {
        nowMs += ms;
        const next = choose(choice, candidates, nowMs);
        const left = candidates.find(({ name }) => name === choice.current);
        if (next.current !== choice.current && left !== undefined && isUsable(left)) {
          const gained = next.current;
          expect(names.indexOf(gained ?? "http")).toBeLessThan(names.indexOf(left.name));
          const record = next.records.get(gained ?? "http");
          const isStep = choice.isStopgap && record?.holdMs === choiceRules.holdFirstMs;
          expect(nowMs - choice.sinceMs).toBeGreaterThanOrEqual(isStep ? choiceRules.stopgapMs : choiceRules.dwellMs);
          expect(nowMs - (record?.usableSinceMs ?? nowMs)).toBeGreaterThanOrEqual(isStep ? choiceRules.stopgapMs : (record?.holdMs ?? 0));
        }
        choice = next;
      }
    }),
  );
});

test("a transport that dies whenever it is chosen is tried less and less often: a dozen times in an hour", () => {
  let choice: Choice = noChoice;
  let returns = 0;
  const hourMs = 3_600_000;
  for (let nowMs = 0; nowMs < hourMs; nowMs += 500) {
    // It looks well until it is used, and dies one look later.
    const grpc = candidate("grpc", choice.current === "grpc" && nowMs > choice.sinceMs ? "down" : "up");
    const next = choose(choice, [grpc, candidate("http", "up")], nowMs);
    if (next.current === "grpc" && choice.current !== "grpc") returns += 1;
    choice = next;
  }
  expect(returns).toBeGreaterThan(5);
  expect(returns).toBeLessThan(20);
});

test("it fails over at once from one that is down, and back to the better one when that has proved itself", () => {
  const both = (grpc: Candidate["state"]) => [candidate("grpc", grpc), candidate("http", "up")];
  let choice = choose(noChoice, both("up"), 0);
  expect(choice).toMatchObject({ current: "grpc", reason: "grpc is up" });
  choice = choose(choice, both("down"), 100_000);
  expect(choice).toMatchObject({ current: "http", reason: "grpc is down, http is up" });
  choice = choose(choice, both("up"), 101_000);
  choice = choose(choice, both("up"), 105_900);
  expect(choice.current).toBe("http");
  choice = choose(choice, both("up"), 106_000);
  expect(choice).toMatchObject({ current: "grpc", reason: "grpc is better than http and has been up for 5 s" });
});

test("after an outage of all, the first that is back is left for a better one within a second or so, step by step", () => {
  const look = (before: Choice, grpc: Candidate["state"], redis: Candidate["state"], http: Candidate["state"], nowMs: number) =>
    choose(before, [candidate("grpc", grpc), candidate("redis", redis), candidate("http", http)], nowMs);
  let choice = look(noChoice, "up", "idle", "idle", 0);
  choice = look(choice, "down", "down", "down", 100_000);
  choice = look(choice, "down", "down", "up", 140_000);
  expect(choice).toMatchObject({ current: "http", isStopgap: true });
  choice = look(choice, "down", "up", "up", 140_100);
  choice = look(choice, "up", "up", "up", 141_100);
  expect(choice).toMatchObject({ current: "redis", isStopgap: true });
  choice = look(choice, "up", "up", "up", 142_099);
  expect(choice.current).toBe("redis");
  choice = look(choice, "up", "up", "up", 142_100);
  expect(choice).toMatchObject({ current: "grpc", isStopgap: false });
});

test("one that is up and says nothing is left for one that answers", () => {
  const choice = choose(noChoice, [candidate("grpc", "up"), candidate("http", "up")], 0);
  expect(choose(choice, [candidate("grpc", "up", true), candidate("http", "up")], 1).reason).toBe("grpc says nothing, http is up");
});

test("a score halves with the first failure and recovers with time", () => {
  const one = (state: Candidate["state"], before: Choice, nowMs: number) => choose(before, [candidate("grpc", state)], nowMs);
  let choice = one("up", noChoice, 0);
  expect(scoreOf(choice, "grpc", 0)).toBe(1);
  choice = one("down", choice, 1_000);
  expect(scoreOf(choice, "grpc", 1_000)).toBe(0);
  choice = one("up", choice, 1_000);
  expect(scoreOf(choice, "grpc", 1_000)).toBe(0.5);
  expect(scoreOf(choice, "grpc", 1_000 + choiceRules.halfLifeMs)).toBeCloseTo(2 / 3);
  expect(scoreOf(choice, "redis", 1_000)).toBe(0);
});
