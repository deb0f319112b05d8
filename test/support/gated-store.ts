import type { NewEvent, Outcome } from "../../src/interaction/event.js";
import { turn } from "./manual-clock.js";

/** One call of append that waits for the test to answer it. */
export type GatedCall = {
  readonly lane: number;
  readonly events: readonly NewEvent[];
  readonly resolve: (outcomes?: readonly Outcome[]) => Promise<void>;
  readonly reject: (thrown: unknown) => Promise<void>;
};

/** The two functions that a commit needs of a store, each call held until the test decides what the store answers. */
export class GatedStore {
  readonly calls: GatedCall[] = [];
  readonly buried: { readonly event: NewEvent; readonly reason: string }[] = [];

  readonly append = (lane: number, events: readonly NewEvent[]): Promise<readonly Outcome[]> =>
    new Promise((resolve, reject) => {
      this.calls.push({
        lane,
        events,
        resolve: (outcomes = events.map(() => ({ kind: "stored", storedAtMs: 1 }))) => {
          resolve(outcomes);
          return turn();
        },
        reject: (thrown) => {
          reject(thrown);
          return turn();
        },
      });
    });

  readonly setAside = async (event: NewEvent, reason: string): Promise<void> => {
    this.buried.push({ event, reason });
  };

  /** The newest call; fails when there is none. */
  get last(): GatedCall {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error("the store was not asked");
    return call;
  }
}
