import fc from "fast-check";
import { expect, test } from "vitest";
import { OpenRequests } from "../../../src/smart-router/signals/open-requests.js";
import type { OpenStarts } from "../../../src/smart-router/signals/open-starts.js";

const step = fc.record({ id: fc.integer({ min: 0, max: 30 }).map(String), does: fc.constantFrom("open", "open", "open", "end", "cancel") });

test("whoever has been open for longest makes room, whatever was closed or opened again before", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), fc.integer({ min: 1, max: 12 }), (steps, max) => {
      const requests = new OpenRequests(max, 1_000);
      const starts: OpenStarts = [];
      /** Open ones, oldest first, as a list says it. */
      let expected: { readonly id: string; readonly atMs: number }[] = [];
      const ended = new Set<string>();
      for (const [atMs, { id, does }] of steps.entries()) {
        if (does === "open") {
          if (requests.isKnown(id)) continue;
          requests.open(id, atMs, [starts]);
          if (expected.length === max) expected = expected.slice(1);
          expected.push({ id, atMs });
        } else {
          if (does === "end") requests.end(id, { mcpId: "a", self: undefined, isExpired: false });
          else requests.cancel(id);
          if (does === "end") ended.add(id);
          expected = expected.filter((open) => open.id !== id);
        }
        expect(requests.size).toBe(expected.length);
        expect(starts).toEqual(expected.map((open) => open.atMs));
        for (let known = 0; known <= 30; known += 1) {
          const isOpen = expected.some((open) => open.id === String(known));
          expect(requests.isKnown(String(known))).toBe(isOpen || ended.has(String(known)));
        }
      }
    }),
  );
});

test("an end that no other word can follow takes no place among those that are remembered", () => {
  const requests = new OpenRequests(10, 2);
  requests.open("decided", 0, []);
  requests.end("decided", { mcpId: "a", self: undefined, isExpired: true });
  for (const id of ["interaction 1", "interaction 2", "interaction 3"]) {
    requests.open(id, 1, []);
    requests.end(id, undefined);
    expect(requests.isKnown(id)).toBe(false);
  }
  expect(requests.pastOf("decided")?.isExpired).toBe(true);
  expect(requests.size).toBe(0);
});
