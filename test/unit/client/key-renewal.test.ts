import { expect, test } from "vitest";
import { guardCallbacks } from "../../../src/client/guarded-callbacks.js";
import { KeyRenewal } from "../../../src/client/key-renewal.js";
import { limits } from "../../../src/platform/limits.js";
import { createDeferred } from "../../support/deferred.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

test("a question that is never answered is given up, and the next one is asked", async () => {
  const clock = new ManualClock(1_000_000);
  const renewed: string[] = [];
  const answers = [new Promise<undefined>(() => undefined), Promise.resolve("sk-2")];
  const asked: number[] = [];
  const ask = () => {
    asked.push(clock.nowMs());
    return answers[asked.length - 1] ?? Promise.resolve(undefined);
  };
  const keys = new KeyRenewal(ask, (key) => renewed.push(key), clock);
  const first = keys.request();
  await clock.advance(limits.keyRenewalMaxMs - 1);
  await keys.request(); // while one is open no other is asked
  expect(asked).toHaveLength(1);
  await clock.advance(1);
  await first;
  await keys.request();
  expect(renewed).toEqual(["sk-2"]);
  expect(clock.timerCount).toBe(0);
});

test("an answer that comes late is taken, but not over the answer to a newer question", async () => {
  const clock = new ManualClock(1_000_000);
  const renewed: string[] = [];
  const [one, two, three] = [createDeferred<string>(), createDeferred<string>(), createDeferred<string>()];
  const answers = [one.promise, two.promise, three.promise];
  const keys = new KeyRenewal(
    () => answers.shift() ?? Promise.resolve(undefined),
    (key) => renewed.push(key),
    clock,
  );
  for (let round = 0; round < 3; round += 1) {
    void keys.request();
    await clock.advance(limits.keyRenewalMaxMs);
  }
  two.resolve("sk-2");
  await turn();
  one.resolve("sk-1");
  await turn();
  three.resolve("sk-3");
  await turn();
  expect(renewed).toEqual(["sk-2", "sk-3"]);
});

test("the owner of a reporter is told of a renewKey that fails or does not answer, and no one else is", async () => {
  const clock = new ManualClock(1_000_000);
  const told: string[] = [];
  const troubles = {
    run: (task: () => void) => {
      try {
        task();
      } catch (thrown) {
        told.push(thrown instanceof Error ? thrown.message : "");
      }
    },
  };
  const guarded = (renewKey: () => Promise<string | undefined>) => guardCallbacks({ renewKey }, troubles, clock).renewKey?.();
  expect(await guarded(async () => "sk-1")).toBe("sk-1");
  expect(await guarded(() => Promise.reject(new Error("the vault is sealed")))).toBeUndefined();
  void guarded(() => new Promise(() => undefined));
  await clock.advance(limits.keyRenewalMaxMs);
  expect(told).toEqual(["renewKey has failed: the vault is sealed", `renewKey has not answered in ${limits.keyRenewalMaxMs / 1_000} s`]);
});
