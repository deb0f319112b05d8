import { describe, expect, it } from "vitest";
import { SilenceWatch } from "../../../src/registry/silence.js";

const beatOf = (beat: number) => ({ mcpId: "ocr", state: "alive", beat, coordinatorId: "c" }) as const;

describe("the silence of a lease", () => {
  it("grows while its renewals do not, and ends with the next renewal", () => {
    const watch = new SilenceWatch();
    watch.look([beatOf(1)], 0, 10_000);
    watch.look([beatOf(1)], 3_000, 10_000);
    watch.look([beatOf(1)], 6_000, 10_000);
    expect(watch.silentMs("ocr")).toBe(6_000);
    watch.look([beatOf(2)], 9_000, 10_000);
    expect(watch.silentMs("ocr")).toBe(0);
  });

  it("does not grow by the time in which nobody could look: a stall, or a store that was away, is the observer's own", () => {
    const watch = new SilenceWatch();
    watch.look([beatOf(1)], 0, 2_000);
    watch.look([beatOf(1)], 3_600_000, 2_000);
    expect(watch.silentMs("ocr")).toBe(2_000);
  });

  it("does not shrink when a clock goes back, and begins anew with a new observer", () => {
    const watch = new SilenceWatch();
    watch.look([beatOf(1)], 5_000, 2_000);
    watch.look([beatOf(1)], 7_000, 2_000);
    watch.look([beatOf(1)], 1_000, 2_000);
    expect(watch.silentMs("ocr")).toBe(2_000);
    const other = new SilenceWatch();
    other.look([beatOf(1)], 7_000, 2_000);
    expect(other.silentMs("ocr")).toBe(0);
  });

  it("is forgotten with the lease", () => {
    const watch = new SilenceWatch();
    watch.look([beatOf(4)], 0, 2_000);
    expect(watch.beat("ocr")).toBe(4);
    watch.look([], 1_000, 2_000);
    expect([watch.silentMs("ocr"), watch.beat("ocr")]).toEqual([0, undefined]);
  });
});
