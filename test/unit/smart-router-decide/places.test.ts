import fc from "fast-check";
import { expect, test } from "vitest";
import { addPlace, hasPlace, keepPlaces, noPlaces } from "../../../src/smart-router/decide/places.js";

test("places are those that were added and kept since they were emptied, whatever was there before", () => {
  const size = 20;
  const some = fc.uniqueArray(fc.nat(size - 1), { maxLength: size }).map((places) => places.sort((a, b) => a - b));
  fc.assert(
    fc.property(fc.array(fc.tuple(some, some), { maxLength: 4 }), (rounds) => {
      const places = noPlaces(size);
      for (const [added, wanted] of rounds) {
        places.count = 0;
        for (const at of added) addPlace(places, at);
        keepPlaces(places, (at) => wanted.includes(at));
        const kept = added.filter((at) => wanted.includes(at));
        expect([...places.at.subarray(0, places.count)]).toEqual(kept);
        for (let at = 0; at < size; at++) expect(hasPlace(places, at)).toBe(kept.includes(at));
      }
    }),
  );
});
