import { describe, expect, it } from "vitest";
import { openInOrder } from "../../../src/hub/open-in-order.js";
import type { ProducerOpened } from "../../../src/store/store.js";

/** A store whose answers come when the test says so. */
function gatedOpen() {
  const started: string[] = [];
  const answers = new Map<string, { readonly resolve: (opened: ProducerOpened) => void; readonly reject: (error: Error) => void }>();
  const open = openInOrder((_, __, sessionId) => {
    started.push(sessionId);
    return new Promise((resolve, reject) => answers.set(sessionId, { resolve, reject }));
  });
  return { open, started, answers };
}

const opened = (epoch: number): ProducerOpened => ({ epoch, resumeSequence: 0n, isKnown: true, silentMs: 0, supersededSessionId: "" });
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("opening producers", () => {
  it("takes the epoch of an abandoned Hello before that of the one that followed it, however slow the store is", async () => {
    const { open, started, answers } = gatedOpen();
    const abandoned = open("p", "ocr", "first");
    const live = open("p", "ocr", "second");
    const third = open("p", "ocr", "third");
    await turn();
    expect(started).toEqual(["first"]);
    answers.get("first")?.resolve(opened(1));
    expect((await abandoned)?.epoch).toBe(1);
    await turn();
    expect(started).toEqual(["first", "second"]);
    answers.get("second")?.resolve(opened(2));
    expect((await live)?.epoch).toBe(2);
    await turn();
    answers.get("third")?.resolve(opened(3));
    expect((await third)?.epoch).toBe(3);
  });

  it("does not let one producer wait for another", async () => {
    const { open, started } = gatedOpen();
    void open("p", "ocr", "first");
    void open("q", "ocr", "other");
    await turn();
    expect(started).toEqual(["first", "other"]);
  });

  it("goes on after a failure, which only its own caller hears", async () => {
    const { open, started, answers } = gatedOpen();
    const failing = open("p", "ocr", "first");
    const next = open("p", "ocr", "second");
    await turn();
    answers.get("first")?.reject(new Error("no database"));
    await expect(failing).rejects.toThrow("no database");
    await turn();
    expect(started).toEqual(["first", "second"]);
    answers.get("second")?.resolve(opened(1));
    expect((await next)?.epoch).toBe(1);
  });

  it("forgets a producer that is open", async () => {
    const { open, started, answers } = gatedOpen();
    const first = open("p", "ocr", "first");
    answers.get("first")?.resolve(opened(1));
    await first;
    void open("p", "ocr", "second");
    expect(started).toEqual(["first", "second"]);
  });
});
