import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { relaxed, type Squeeze, type Strain, squeeze } from "../../../src/hub/window.js";
import { limits } from "../../../src/platform/limits.js";

const calm: Strain = { pendingEvents: 0, pendingBytes: 0, isStoreAvailable: true, memoryShare: 0, senderCount: 1 };
const filled = (share: number, senderCount: number): Strain => ({ ...calm, pendingEvents: limits.pendingMaxEvents * share, senderCount });

describe("squeeze", () => {
  it("leaves the window full while less than the high share of the budget is filled, however many send", () => {
    expect(squeeze(relaxed, filled(limits.pressureHighShare - 0.01, 10_000), 0)).toEqual(relaxed);
  });

  it.each([
    [10, 1_000],
    [50, 250],
    [200, 62],
    [10_000, 7],
  ])("divides what may be filled among %i senders: %i events each", (senderCount, maxEvents) => {
    const { grant } = squeeze(relaxed, filled(limits.pressureHighShare, senderCount), 0);
    expect(grant).toMatchObject({ maxEvents, pressure: maxEvents === limits.windowMaxEvents ? "none" : "busy" });
  });

  it("goes on shrinking step by step while the budget is full, or memory short, in spite of it", () => {
    let now: Squeeze = relaxed;
    const seen = [filled(limits.pressureFullShare, 1), { ...calm, memoryShare: limits.memoryHighShare }].map((strain) => {
      now = squeeze(now, strain, 0);
      return [now.grant.maxEvents, now.grant.pressure];
    });
    expect(seen).toEqual([
      [500, "busy"],
      [250, "memory"],
    ]);
  });

  it("grows by one step only after a while without any reason, and not at all between the thresholds", () => {
    const tight = squeeze(relaxed, filled(limits.pressureHighShare, 50), 0);
    expect(squeeze(tight, filled(limits.pressureLowShare, 50), 1_000_000).grant).toEqual(tight.grant);
    const resting = squeeze(tight, calm, 1_000);
    expect(resting.grant).toEqual(tight.grant);
    expect(squeeze(resting, calm, 1_000 + limits.pressureCalmMs - 1).grant).toEqual(tight.grant);
    const grown = squeeze(resting, calm, 1_000 + limits.pressureCalmMs);
    expect(grown.grant.maxEvents).toBe(500);
    const disturbed = squeeze(grown, filled(limits.pressureLowShare, 50), 7_000);
    expect(squeeze(disturbed, calm, 1_000 + limits.pressureCalmMs * 2).grant.maxEvents).toBe(500);
  });

  it("tells of a store that is away and shrinks nothing for it", () => {
    const { grant } = squeeze(relaxed, { ...calm, isStoreAvailable: false }, 0);
    expect(grant).toEqual({ ...relaxed.grant, pressure: "storage_unavailable" });
  });

  it("never grants more than the full window, nor less than one event of any size, and moves up by one step at a time", () => {
    const strain = fc.record({
      pendingEvents: fc.nat({ max: 40_000 }),
      pendingBytes: fc.nat({ max: 48 * 1024 * 1024 }),
      isStoreAvailable: fc.boolean(),
      memoryShare: fc.double({ min: 0, max: 1, noNaN: true }),
      senderCount: fc.nat({ max: 20_000 }),
    });
    fc.assert(
      fc.property(fc.array(strain, { maxLength: 50 }), (strains) => {
        let now = relaxed;
        strains.forEach((one, i) => {
          const next = squeeze(now, one, i * 3_000);
          expect(next.grant.maxEvents).toBeLessThanOrEqual(limits.windowMaxEvents);
          expect(next.grant.maxEvents).toBeGreaterThanOrEqual(1);
          expect(next.grant.maxBytes).toBeGreaterThanOrEqual(limits.eventMaxBytes);
          expect(next.halvings).toBeGreaterThanOrEqual(now.halvings - 1);
          now = next;
        });
      }),
    );
  });
});
