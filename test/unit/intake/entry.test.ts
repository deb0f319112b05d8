import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { type EntryField, entryBytes, readEntry } from "../../../src/intake/redis-stream/entry.js";
import { verdictKeyPrefix } from "../../../src/interaction/redis-contract.js";
import { limits } from "../../../src/platform/limits.js";
import { makeEvent } from "../../support/make-event.js";

const stream = "s";
const field = (name: string, value: string | Uint8Array): EntryField => ({
  name,
  value: typeof value === "string" ? Buffer.from(value) : value,
});
const eventJson = { mcpId: "demo", interactionId: "i-1", occurredAt: "2026-11-20T12:00:00Z", start: { requestType: "search" } };

/** Names of the fields that are at fault; `[]` when the entry is a draft. */
function faultsOf(...fields: readonly EntryField[]): readonly string[] {
  const { report } = readEntry(stream, fields);
  return report.kind === "draft" ? [] : report.faults.map((fault) => `${fault.field} ${fault.reason}`);
}

describe("reading an entry", () => {
  it("gives the same draft for the same event as bytes, as its JSON, and inside a report", () => {
    const event = create(InteractionEventSchema, makeEvent({ occurredAt: { seconds: 1_795_176_000n, nanos: 0 } }));
    const forms = [
      field("event", toBinary(InteractionEventSchema, event)),
      field("event", JSON.stringify(eventJson)),
      field("report", JSON.stringify({ event: eventJson })),
    ];
    const drafts = forms.map((form) => readEntry(stream, [form]).report);
    expect(drafts.map(({ kind }) => kind)).toEqual(["draft", "draft", "draft"]);
    expect(drafts[1]).toEqual(drafts[0]);
    expect(drafts[2]).toEqual(drafts[0]);
  });

  it("ignores other fields beside an event or a report", () => {
    expect(
      faultsOf(field("report", JSON.stringify({ event: eventJson })), field("host", "a"), field("bytes", new Uint8Array([255]))),
    ).toEqual([]);
  });

  it("takes the key and the place for the verdict out of the entry", () => {
    const replyTo = `${verdictKeyPrefix(stream)}me`;
    const read = readEntry(stream, [field("event", JSON.stringify(eventJson)), field("api_key", "sk-1"), field("reply_to", replyTo)]);
    expect(read).toMatchObject({ apiKey: "sk-1", replyTo, report: { kind: "draft" } });
  });

  it("names what is wrong", () => {
    const report = JSON.stringify({ event: eventJson });
    expect(faultsOf()).toEqual(["report REQUIRED"]);
    expect(faultsOf(field("api_key", "k"))).toEqual(["report REQUIRED"]);
    expect(faultsOf(field("report", report), field("event", "{}"))).toEqual(["report AMBIGUOUS"]);
    expect(faultsOf(field("report", report), field("report", report))).toEqual(["report REPEATED"]);
    expect(faultsOf(field("report", "{"))).toEqual(["report MALFORMED"]);
    expect(faultsOf(field("report", `[${report}]`))).toEqual(["report MALFORMED"]);
    expect(faultsOf(field("report", "null"))).toEqual(["report MALFORMED"]);
    expect(faultsOf(field("report", new Uint8Array([0x7b, 0xff, 0x7d])))).toEqual(["report MALFORMED"]);
    expect(faultsOf(field("event", new Uint8Array([255, 255])))).toEqual(["event MALFORMED"]);
    expect(faultsOf(field("report", report), field("api_key", new Uint8Array([255])))).toEqual(["api_key NOT_UTF8"]);
    for (const name of ["s", "other", verdictKeyPrefix(stream), `${verdictKeyPrefix(stream)}${"x".repeat(limits.idMaxBytes)}`]) {
      expect(faultsOf(field("report", report), field("reply_to", name))).toEqual(["reply_to NOT_ALLOWED"]);
    }
  });

  it("refuses an entry above the bound and none at it", () => {
    const name = "report";
    const at = field(name, JSON.stringify({ event: eventJson }).padEnd(limits.redisEntryMaxBytes - name.length));
    expect(entryBytes([at])).toBe(limits.redisEntryMaxBytes);
    expect(faultsOf(at)).toEqual([]);
    expect(faultsOf(at, field("x", ""))).toEqual(["entry TOO_LARGE"]);
  });

  it("puts flat fields together to a report: JSON in nested ones, numbers where documents have numbers, text in all others", () => {
    const documented = { action: "interaction_start", interaction_id: "12345", mcp_id: "7", timestamp: 1_795_176_000.25 };
    const nested = { request_data: { request_type: "ocr", user_id: "1" } };
    const flat = readEntry(stream, [
      ...Object.entries(documented).map(([name, value]) => field(name, String(value))),
      field("request_data", JSON.stringify(nested.request_data)),
      field("host", "kept in the payload"),
    ]);
    const whole = readEntry(stream, [field("report", JSON.stringify({ ...documented, ...nested, host: "kept in the payload" }))]);
    expect(flat.report).toMatchObject({
      kind: "draft",
      draft: { interactionId: "12345", mcpId: "7", detail: { kind: "start", requestType: "ocr" } },
    });
    if (flat.report.kind !== "draft" || whole.report.kind !== "draft") throw new Error("both are drafts");
    expect({ ...flat.report.draft, encodedBytes: 0 }).toEqual({ ...whole.report.draft, encodedBytes: 0 });
  });

  it("gives a report that has no time the time at which the entry was added", () => {
    const fields = [field("action", "interaction_start"), field("interaction_id", "i"), field("mcp_id", "m"), field("request_data", "{}")];
    const addedAt = { seconds: 1_795_176_000n, nanos: 0 };
    expect(readEntry(stream, fields, addedAt).report).toMatchObject({ kind: "draft", draft: { occurredAt: addedAt } });
  });

  it("is total: any fields at all are a draft or have faults, and never a place for the verdict outside of its prefix", () => {
    const name = fc.oneof(fc.constantFrom("event", "report", "api_key", "reply_to", "action", "timestamp", "request_data"), fc.string());
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.json().map((text) => Buffer.from(text)),
      fc.json().map((text) => Buffer.from(`{"event":${text}}`)),
      fc.string().map((text) => Buffer.from(`${verdictKeyPrefix(stream)}${text}`)),
    );
    const entry = fc.array(fc.record({ name, value }), { maxLength: 8 });
    fc.assert(
      fc.property(entry, (fields) => {
        const { report, replyTo } = readEntry(stream, fields);
        if (report.kind === "faulty") {
          expect(report.faults.length).toBeGreaterThan(0);
          expect(report.faults.length).toBeLessThanOrEqual(limits.violationMaxCount);
        }
        if (replyTo !== undefined) expect(replyTo.startsWith(verdictKeyPrefix(stream))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
