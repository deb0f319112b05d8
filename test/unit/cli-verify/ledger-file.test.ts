import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LedgerEvents } from "../../../src/cli/ledger-events.js";
import { LineSorter } from "../../../src/cli/line-sorter.js";
import { readTextLines } from "../../../src/cli/text-lines.js";
import { openLedgerFile } from "../../../src/client/ledger-file.js";
import { encodeEvent } from "../../../src/client/wire/frames.js";
import { seededRng } from "../../../src/platform/rng.js";
import { mintUuidV7 } from "../../../src/platform/uuid-v7.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-ledger-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const never = new AbortController().signal;
const settled = (eventId: string, verdict: "stored" | "duplicate" | "rejected") =>
  ({ eventId, verdict, learnt: "ack", latencyMs: 1, ack: undefined }) as const;

async function gatherAll(...paths: readonly string[]) {
  const events = new LedgerEvents(mkdtempSync(join(dir, "sort-")));
  for (const path of paths) await events.read(path, never, () => undefined);
  await events.join(never);
  return { survey: events.survey, events: [...events.sorted()] };
}

describe("a ledger file", () => {
  test("has an event before it can be sent, and its verdict after a flush", () => {
    const path = join(dir, "order.jsonl");
    using ledger = openLedgerFile(path);
    const eventId = mintUuidV7();
    ledger.sent(eventId, "ocr", "i-1", encodeEvent({ eventId, interactionId: "i-1" }));
    expect(readFileSync(path, "utf8").split("\n")).toHaveLength(2);
    ledger.settled(settled(eventId, "stored"));
    ledger.flush();
    expect(readFileSync(path, "utf8").trimEnd().split("\n")[1]).toBe(JSON.stringify({ acked: eventId, status: "STORED" }));
  });

  test("is continued behind its last whole line when it was cut off", () => {
    const path = join(dir, "torn.jsonl");
    const [first, second] = [mintUuidV7(), mintUuidV7()];
    writeFileSync(path, `{"acked":"${first}","status":"STORED"}\n{"acked":"${"0".repeat(100_000)}`);
    const ledger = openLedgerFile(path);
    ledger.settled(settled(second, "duplicate"));
    ledger[Symbol.dispose]();
    expect(readFileSync(path, "utf8")).toBe(`{"acked":"${first}","status":"STORED"}\n{"acked":"${second}","status":"DUPLICATE"}\n`);
  });

  test("is read as events by MCP and interaction, whatever the order of its lines and files", async () => {
    const [a, b, c, d, e] = [1, 2, 3, 4, 5].map(() => mintUuidV7()) as [string, string, string, string, string];
    const sent = (eventId: string, mcp: string, interaction: string) => JSON.stringify({ sent: eventId, mcp, interaction });
    const acked = (eventId: string, status: string) => JSON.stringify({ acked: eventId, status });
    const [one, two] = [join(dir, "one.jsonl"), join(dir, "two.jsonl")];
    writeFileSync(
      one,
      `${[acked(a, "STORED"), sent(b, "z", "i"), sent(a, "m", "i-2"), "", acked(b, "INVALID"), sent(a, "m", "i-2")].join("\n")}\n`,
    );
    writeFileSync(
      two,
      [sent(c, "m", "i-1"), acked(c, "OVERLOADED"), sent(d, "m", "i-1"), sent(d, "m", "i-9"), acked(e, "STORED"), '{"ack'].join("\n"),
    );
    const { survey, events } = await gatherAll(two, one);
    expect(survey).toEqual({ lines: 10, tornLines: 1, events: 4, acksWithoutEvent: 1, faultCount: 0, faults: [] });
    expect(events.map(({ eventId, mcpId, interactionId, expectation }) => [eventId, mcpId, interactionId, expectation])).toEqual([
      [c, "m", "i-1", "open"],
      [d, "m", "i-1", "unclear"],
      [a, "m", "i-2", "stored"],
      [b, "z", "i", "refused"],
    ]);
    expect(events[2]?.where).toBe(`${one}:3`);
  });

  test("names its bad lines by number, and counts those beyond ten", async () => {
    const path = join(dir, "bad.jsonl");
    writeFileSync(path, `${JSON.stringify({ acked: mintUuidV7(), status: "STORED" })}\n${"no\n".repeat(12)}`);
    appendFileSync(path, `${"x".repeat(600_000)}\n`);
    const { survey } = await gatherAll(path);
    expect(survey.faultCount).toBe(13);
    expect(survey.faults).toHaveLength(10);
    expect(survey.faults[0]).toBe(`${path}:2: not a JSON object`);
  });
});

describe("lines", () => {
  test("are read whole over the borders of chunks, and end with line feeds only", () => {
    const path = join(dir, "lines.txt");
    const texts = ["", "a\u2028b", "é".repeat(200_000), "c\r", "x".repeat(262_143), "last"];
    writeFileSync(path, texts.join("\n"));
    const read = [...readTextLines(path, 10_000_000)];
    expect(read.map(({ text }) => text)).toEqual(texts);
    expect(read.map(({ hasEnd }) => hasEnd)).toEqual([true, true, true, true, true, false]);
  });

  test("come out of the sorter in order, with files and without, as many as went in", () => {
    const rng = seededRng(7);
    const lines = Array.from({ length: 5_000 }, () => `${Math.floor(rng() * 3_000)}\t${"é".repeat(Math.floor(rng() * 20))}`);
    const expected = [...lines].sort((a, b) => (a < b ? -1 : 1));
    for (const runChars of [500, 20_000, 10_000_000]) {
      const sorter = new LineSorter(mkdtempSync(join(dir, "runs-")), "run", runChars);
      for (const line of lines) sorter.add(line);
      expect([...sorter.sorted()]).toEqual(expected);
    }
    expect([...new LineSorter(dir, "empty").sorted()]).toEqual([]);
  });
});
