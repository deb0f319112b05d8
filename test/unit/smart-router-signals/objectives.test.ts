import { describe, expect, test } from "vitest";
import { plainRequest, type RouteRequest } from "../../../src/smart-router/request.js";
import { createSignalBook, type LocalSignalBook } from "../../../src/smart-router/signals/book.js";
import { signalDefaults } from "../../../src/smart-router/signals/settings.js";
import { endedWith } from "../../support/ended.js";

const ocr: RouteRequest = { ...plainRequest, requestType: "ocr" };
const search: RouteRequest = { ...plainRequest, requestType: "search" };

/** Forty answers to each type, of 100, 200, 300 and 400 ms in turn. */
function bookWith(objectiveMs: ReadonlyMap<string, number>): LocalSignalBook {
  const book = createSignalBook({ ...signalDefaults, objectiveMs });
  for (const request of [ocr, search]) {
    for (let each = 0; each < 40; each += 1) {
      book.ended(
        endedWith({ decisionId: `${request.requestType} ${each}`, request, startedAtMs: 1_000, endedAtMs: 1_100 + (each % 4) * 100 }),
      );
    }
  }
  return book;
}

const tailOf = (book: LocalSignalBook, request: RouteRequest): number => book.read("a", request, 0, 2_000).tail;

describe("the deadline of a request", () => {
  test("is the objective of its type, and the p90 of its class where the type has none", () => {
    const book = bookWith(new Map([["ocr", 150]]));
    expect(book.readClass(ocr, 2_000).deadlineMs).toBe(150);
    const { deadlineMs, p90Ms } = book.readClass(search, 2_000);
    expect(deadlineMs).toBe(p90Ms);
    expect(p90Ms).toBeGreaterThan(300);
  });

  test("holds for every class of the type, and for no type of another spelling", () => {
    const book = bookWith(new Map([["ocr", 150]]));
    expect(book.readClass({ ...ocr, inputBytes: 1_000_000 }, 2_000).deadlineMs).toBe(150);
    expect(book.readClass({ ...ocr, requestType: "OCR" }, 2_000).deadlineMs).not.toBe(150);
  });

  test("decides what is late: three answers in four miss 150 ms, none misses a second", () => {
    const [strict, lax] = [tailOf(bookWith(new Map([["ocr", 150]])), ocr), tailOf(bookWith(new Map([["ocr", 1_000]])), ocr)];
    expect(strict).toBeGreaterThan(0.6);
    expect(strict).toBeLessThan(0.9);
    expect(lax).toBeLessThan(0.1);
  });

  test("is the request's own where it names one, whatever the objective", () => {
    const own: RouteRequest = { ...ocr, deadlineMs: 1_000 };
    expect(tailOf(bookWith(new Map([["ocr", 150]])), own)).toBe(tailOf(bookWith(new Map()), own));
  });

  test("changes with the objectives, for what was observed before, at the same instant and for the same request", () => {
    const book = bookWith(new Map([["ocr", 150]]));
    const strict = tailOf(book, ocr);
    book.setObjectives(new Map([["ocr", 1_000]]));
    expect(book.readClass(ocr, 2_000).deadlineMs).toBe(1_000);
    expect(tailOf(book, ocr)).toBeLessThan(strict);
    expect(tailOf(book, ocr)).toBe(tailOf(bookWith(new Map([["ocr", 1_000]])), ocr));
    book.setObjectives(new Map());
    expect(book.readClass(ocr, 2_000).deadlineMs).toBe(book.readClass(ocr, 2_000).p90Ms);
  });
});
