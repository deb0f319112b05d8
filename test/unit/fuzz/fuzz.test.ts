import { expect, it } from "vitest";
import { readCorpus, runFuzz } from "../../fuzz/run.js";
import { FuzzTarget } from "../../fuzz/target.js";

it("every frame of the corpus is answered, or refused with its reason", { timeout: 600_000 }, async () => {
  const corpus = readCorpus();
  expect(corpus.length).toBeGreaterThan(20);
  for (const { name, bytes } of corpus) {
    const target = new FuzzTarget();
    await target.feed(bytes);
    await target.hangUp();
    const { undecodable, ended } = target.counts;
    target.close();
    // The name says what must come of it: answered-…, ended-…, undecodable-….
    expect(undecodable > 0 ? "undecodable" : ended > 0 ? "ended" : "answered", name).toBe(name.split("-")[0]);
  }
});

it("twenty thousand frames, right, wrong and random, break no promise", { timeout: 900_000 }, async () => {
  const counts = await runFuzz({ cases: 20_000, seed: 1 });
  // The run is worth something only when it gets behind the decoder, and past the checks.
  expect(counts.undecodable).toBeGreaterThan(500);
  expect(counts.answered).toBeGreaterThan(5_000);
  expect(counts.refusedEvents).toBeGreaterThan(2_000);
  expect(counts.acceptedEvents).toBeGreaterThan(1_000);
});
