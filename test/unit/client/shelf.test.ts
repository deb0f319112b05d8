import { expect, test } from "vitest";
import { createMemorySpool } from "../../../src/client/memory-spool.js";
import { Shelf } from "../../../src/client/shelf.js";
import { Troubles } from "../../../src/client/troubles.js";
import { encodeEvent } from "../../../src/client/wire/frames.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const encoded = encodeEvent({ eventId: "e", interactionId: "i" });

test("while the disk refuses, events are taken in memory and can be sent, as the manual says, and the disk is used again afterwards", async () => {
  const clock = new ManualClock(1_000_000);
  const troubles = new Troubles({ clock, log: undefined, onTrouble: undefined });
  const places: number[] = [];
  let isRefusing = true;
  // A disk that was full a moment ago: nothing is put on it for a while.
  const disk = createMemorySpool(clock);
  const openDisk = async () => ({
    ...disk,
    isRefusing: () => isRefusing,
    put: (...given: Parameters<typeof disk.put>) => (isRefusing ? undefined : disk.put(...given)),
  });
  const onSpool = () => (place: number) => void places.push(place);
  const shelf = new Shelf({ clock, troubles, openDisk, onSpool, onOpened: () => undefined, onTakenOver: () => undefined });
  await turn();
  expect(shelf.take("first", "start", encoded)).toBe(true);
  expect(places).toEqual([1]);
  expect([shelf.kind, shelf.volatileCount, shelf.unresolvedCount]).toEqual(["memory", 1, 1]);
  isRefusing = false;
  expect(shelf.take("second", "start", encoded)).toBe(true);
  expect([shelf.kind, shelf.volatileCount, shelf.unresolvedCount]).toEqual(["disk", 1, 2]);
  await shelf.close();
});
