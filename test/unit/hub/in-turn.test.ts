import { describe, expect, it } from "vitest";
import { createInTurn } from "../../../src/hub/in-turn.js";
import { createDeferred } from "../../support/deferred.js";

describe("openings of one producer", () => {
  it("reach the store one after another, in the order of their Hellos, whichever the store would answer first", async () => {
    const inTurn = createInTurn();
    const gates = [createDeferred(), createDeferred()];
    const log: string[] = [];
    let epoch = 0;
    const open = (name: string, gate: Promise<void>) =>
      inTurn("p", async () => {
        log.push(name);
        await gate;
        epoch += 1;
        return epoch;
      });
    const older = open("older", gates[0]?.promise ?? Promise.resolve());
    const newer = open("newer", gates[1]?.promise ?? Promise.resolve());
    gates[1]?.resolve();
    await Promise.resolve();
    gates[0]?.resolve();
    expect(await Promise.all([older, newer]), "the newer Hello has the greater epoch").toEqual([1, 2]);
    expect(log).toEqual(["older", "newer"]);
  });

  it("do not wait for those of another producer", async () => {
    const inTurn = createInTurn();
    const stuck = inTurn("p", () => new Promise(() => {}));
    expect(await inTurn("q", async () => "opened")).toBe("opened");
    void stuck;
  });

  it("go on after one that failed", async () => {
    const inTurn = createInTurn();
    const failing = inTurn("p", async () => {
      throw new Error("the store is away");
    });
    const next = inTurn("p", async () => "opened");
    await expect(failing).rejects.toThrow("the store is away");
    expect(await next).toBe("opened");
  });
});
