import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type AckStatus, formatLedgerLine, parseLedgerLine } from "../../../src/client/ledger-line.js";
import { encodeEvent } from "../../../src/client/wire/frames.js";

const eventId = "01a1fb72-3256-72a2-a12c-cfc631ca78a1";
const base64 = (init: Parameters<typeof encodeEvent>[0]) => Buffer.from(encodeEvent(init)).toString("base64");
const event = base64({ eventId, interactionId: "i-1", detail: { case: "start", value: {} } });

describe("a ledger line", () => {
  test.each([
    { kind: "sent", eventId, mcpId: "ocr", interactionId: "i-1", event },
    { kind: "sent", eventId, mcpId: 'quoted " \n\t\u2028', interactionId: "with\ttab", event: undefined },
    ...(["STORED", "DUPLICATE", "INVALID", "FENCED"] satisfies AckStatus[]).map((status) => ({ kind: "acked" as const, eventId, status })),
  ] as const)("is read as it was written: %j", (line) => {
    const text = formatLedgerLine(line);
    expect(text).not.toContain("\n");
    expect(parseLedgerLine(text)).toEqual(line);
  });

  test("may name its event in capitals and hold members of a newer writer", () => {
    expect(parseLedgerLine(JSON.stringify({ acked: eventId.toUpperCase(), status: "STORED", at: 5 }))).toEqual({
      kind: "acked",
      eventId,
      status: "STORED",
    });
  });

  test.each([
    ["", "not a JSON object"],
    ["[]", "not a JSON object"],
    ['{"sent":"x', "not a JSON object"],
    ["{}", 'one of "sent" and "acked"'],
    [JSON.stringify({ sent: eventId, acked: eventId }), 'one of "sent" and "acked"'],
    [JSON.stringify({ acked: "i-1", status: "STORED" }), '"acked" is not a UUID version 7'],
    [JSON.stringify({ acked: eventId, status: "OK" }), '"status" is not one of STORED, DUPLICATE, INVALID'],
    [JSON.stringify({ acked: eventId, status: "NOT_FOUND" }), '"status" is not one of'],
    [JSON.stringify({ sent: eventId, interaction: "i-1" }), '"mcp" is not'],
    [JSON.stringify({ sent: eventId, mcp: "ocr", interaction: "" }), '"interaction" is not'],
    [JSON.stringify({ sent: eventId, mcp: "ocr", interaction: "i-1", event: "?" }), '"event" is not base64'],
    [JSON.stringify({ sent: eventId, mcp: "ocr", interaction: "i-1", event: "/////w==" }), "not an encoded InteractionEvent"],
    [JSON.stringify({ sent: eventId, mcp: "ocr", interaction: "i-2", event }), "belongs to another interaction"],
    [JSON.stringify({ sent: eventId.replace("a1", "a2"), mcp: "ocr", interaction: "i-1", event }), `has the event_id "${eventId}"`],
    [
      JSON.stringify({ sent: eventId, mcp: "ocr", interaction: "i-1", event: base64({ eventId, interactionId: "i-1", mcpId: "search" }) }),
      "belongs to another MCP",
    ],
  ])("is refused with a reason: %s", (text, reason) => {
    expect(parseLedgerLine(text)).toMatchObject({ kind: "fault", reason: expect.stringContaining(reason) });
  });

  test("is what docs/verify.md shows", () => {
    const [, example = ""] = /```json\n([^`]*)\n```/.exec(readFileSync("docs/verify.md", "utf8")) ?? [];
    expect(example.split("\n").map((line) => parseLedgerLine(line))).toMatchObject([
      { kind: "sent", mcpId: "ocr", interactionId: "i-1" },
      { kind: "acked", status: "STORED" },
    ]);
  });
});
