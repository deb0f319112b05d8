import { describe, expect, it } from "vitest";
import { VersionOutlet } from "../../../src/hub/version-outlet.js";
import { limits } from "../../../src/platform/limits.js";

const table = (term: number, version: number) => ({ term, version });

describe("VersionOutlet", () => {
  it("has one update outstanding and sends only the newest of those that came meanwhile", () => {
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    outlet.offer(table(1, 1));
    expect(outlet.take(0)).toEqual(expect.objectContaining({ nonce: "1", value: table(1, 1) }));
    outlet.offer(table(1, 2));
    outlet.offer(table(1, 3));
    expect(outlet.take(1)).toBeUndefined();
    expect(outlet.acked("1", "applied")).toEqual(table(1, 1));
    expect(outlet.take(2)?.value).toEqual(table(1, 3));
    expect(outlet.take(3)).toBeUndefined();
  });

  it("ignores a table that is not newer: terms first, then versions", () => {
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    outlet.offer(table(2, 5));
    outlet.offer(table(1, 9));
    outlet.offer(table(2, 5));
    expect(outlet.take(0)?.value).toEqual(table(2, 5));
    expect(outlet.take(limits.pushAckMaxMs)).toBeUndefined();
    outlet.offer(table(3, 1));
    expect(outlet.take(limits.pushAckMaxMs)?.value).toEqual(table(3, 1));
  });

  it("takes RECEIVED and EXPIRED once of an update, however often they are sent", () => {
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    outlet.offer(table(1, 1));
    outlet.take(0);
    expect(outlet.acked("1", "received")).toEqual(table(1, 1));
    expect(outlet.acked("1", "received")).toBeUndefined();
    expect(outlet.acked("1", "applied")).toEqual(table(1, 1));
    expect(outlet.acked("1", "expired")).toEqual(table(1, 1));
    expect(outlet.acked("1", "expired")).toBeUndefined();
  });

  it("waits after RECEIVED, and takes EXPIRED for the update that was acked last", () => {
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    outlet.offer(table(1, 1));
    outlet.take(0);
    outlet.offer(table(1, 2));
    expect(outlet.acked("1", "received")).toEqual(table(1, 1));
    expect(outlet.take(1)).toBeUndefined();
    outlet.acked("1", "applied");
    expect(outlet.acked("1", "applied")).toBeUndefined();
    expect(outlet.acked("1", "expired")).toEqual(table(1, 1));
    expect(outlet.acked("nonsense", "expired")).toBeUndefined();
  });

  it("counts the updates in a row that were not answered in time, and begins anew with an answer", () => {
    const late = limits.pushAckMaxMs;
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    let nowMs = 0;
    const send = (version: number): string | undefined => {
      outlet.offer(table(1, version));
      return outlet.take(nowMs)?.nonce;
    };
    const first = send(1);
    expect([outlet.unanswered(late - 1), outlet.unanswered(late)]).toEqual([0, 1]);
    nowMs += late;
    send(2);
    expect([outlet.unanswered(nowMs), outlet.unanswered(nowMs + late)]).toEqual([1, 2]);
    // What was replaced can no longer be answered, and RECEIVED is no answer.
    outlet.acked(first ?? "", "applied");
    nowMs += late;
    const third = send(3);
    outlet.acked(third ?? "", "received");
    expect(outlet.unanswered(nowMs + late)).toBe(3);
    outlet.acked(third ?? "", "rejected");
    expect(outlet.unanswered(nowMs + 10 * late)).toBe(0);
  });

  it("holds the time in which this process did not read against nobody", () => {
    const late = limits.pushAckMaxMs;
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    outlet.offer(table(1, 1));
    outlet.take(0);
    outlet.excuse(late * 3);
    expect(outlet.unanswered(late * 4 - 1)).toBe(0);
    outlet.offer(table(1, 2));
    expect(outlet.take(late * 4 - 1)?.value).toEqual(table(1, 2));
    expect(outlet.unanswered(late * 4)).toBe(0);
  });

  it("no longer waits for an ack that is late", () => {
    const outlet = new VersionOutlet<{ term: number; version: number }>();
    outlet.offer(table(1, 1));
    outlet.take(0);
    outlet.offer(table(1, 2));
    expect(outlet.take(limits.pushAckMaxMs - 1)).toBeUndefined();
    expect(outlet.take(limits.pushAckMaxMs)?.value).toEqual(table(1, 2));
  });
});
