import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AcceptDeps, accept, type Bearer } from "../../../src/ingest/accept.js";
import type { DroppableField } from "../../../src/interaction/collect.js";
import type { Draft } from "../../../src/interaction/event.js";
import { mintUuidV7, parseUuidV7, uuidV7FromHash, uuidV7TimeMs } from "../../../src/platform/uuid-v7.js";
import { completeDetail, draftOf, noonMs, progressDetail, startDetail } from "../../support/draft.js";

const hourMs = 3_600_000;
const deps: AcceptDeps = { pseudonym: (id) => `u_${id}`, maxClockSkewMs: 10 * 60_000, dedupeHorizonMs: 7 * 24 * hourMs };
const bearer: Bearer = { principal: { kind: "anyone" }, mcpId: "", producerId: "p", epoch: 0, labels: {}, source: "grpc" };
const keyBearer: Bearer = { ...bearer, principal: { kind: "key", keyId: "k", mcpId: "demo" }, mcpId: "demo" };

const judge = (more: Partial<Draft>, by: Bearer = bearer) => accept(deps, by, draftOf(more), noonMs);
const verdict = (more: Partial<Draft>, by: Bearer = bearer) => {
  const judged = judge(more, by);
  return judged.kind === "refused" ? judged.verdict : undefined;
};
const event = (more: Partial<Draft>, by: Bearer = bearer) => {
  const judged = judge(more, by);
  if (judged.kind === "refused") throw new Error(JSON.stringify(judged.verdict.violations));
  return judged.event;
};
const at = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 });

describe("accept under collection rules", () => {
  const under = (progressSampleRatio: number, dropFields: readonly DroppableField[], more: Partial<Draft>) =>
    accept(
      { ...deps, rulesOf: (mcpId) => (mcpId === "demo" ? { progressSampleRatio, dropFields } : undefined) },
      bearer,
      draftOf(more),
      noonMs,
    );
  const stored = (...parameters: Parameters<typeof under>) => {
    const judged = under(...parameters);
    if (judged.kind === "refused") throw new Error(judged.verdict.status);
    return judged.event;
  };

  it("answers progress that is not collected with a verdict of its own, final and with the event's id", () => {
    const judged = under(0, [], { detail: progressDetail });
    if (judged.kind !== "refused") throw new Error("it was not collected");
    expect(judged.verdict).toMatchObject({
      status: "not_collected",
      retryable: false,
      violations: [],
      eventId: event({ detail: progressDetail }).eventId,
    });
    expect(under(0, [], { detail: progressDetail, mcpId: "other" }).kind).toBe("accepted");
    expect(under(0, [], { detail: startDetail }).kind).toBe("accepted");
  });

  it("finds faults of an event that would not be collected, too", () => {
    const judged = under(0, [], { detail: progressDetail, interactionId: "" });
    expect(judged).toMatchObject({ kind: "refused", verdict: { status: "invalid" } });
  });

  it("keeps the identity of an event whose fields are dropped, and stores none of them", () => {
    const draft = { detail: { ...startDetail, userId: "ann", parameters: { secret: 1 } }, labels: { region: "us" }, sessionId: "s-1" };
    const whole = stored(1, [], draft);
    const reduced = stored(1, ["start.user_id", "start.parameters", "labels", "session_id"], draft);
    expect([reduced.digest, reduced.eventId]).toEqual([whole.digest, whole.eventId]);
    expect(JSON.parse(reduced.body)).toEqual({ start: { request_type: "search" } });
    expect(reduced.facts).toMatchObject({ userPseudonym: "", sessionId: "" });
  });

  it("drops the bytes of a payload, and still tells other bytes apart", () => {
    const withBytes = (byte: number) => ({
      detail: { ...startDetail, payload: { kind: "raw", raw: Uint8Array.of(byte), contentType: "" } as const },
    });
    const [one, other] = [1, 2].map((byte) => stored(1, ["start.request"], withBytes(byte)));
    expect(one?.raw).toBeUndefined();
    expect(one?.digest).not.toBe(other?.digest);
  });
});

describe("accept", () => {
  it("gives an event without an id the same id every time, with its time inside", () => {
    const id = event({}).eventId;
    expect(parseUuidV7(id)).toBe(id);
    expect(uuidV7TimeMs(id)).toBe(noonMs);
    expect(event({}).eventId).toBe(id);
  });

  it("derives different ids for different content, MCPs and interactions", () => {
    const ids = [{}, { mcpId: "other" }, { interactionId: "i-2" }, { sessionId: "s" }, { detail: completeDetail }].map(
      (more) => event(more).eventId,
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("keeps a given id, in canonical form", () => {
    const id = uuidV7FromHash(noonMs, "abcdef0123456789abc");
    expect(event({ eventId: id.toUpperCase() }).eventId).toBe(id);
  });

  it("makes the digest independent of id, sequence and session labels, so that a retry after an upgrade is a duplicate", () => {
    const digest = event({ eventId: mintAt(noonMs) }).digest;
    expect(event({ eventId: mintAt(noonMs + 1), sequence: 7n }).digest).toBe(digest);
    const upgraded = event({}, { ...bearer, labels: { mcp_version: "2" } });
    expect(upgraded.digest).toBe(digest);
    expect(JSON.parse(upgraded.body).stamped).toEqual({ mcp_version: "2" });
    expect(event({ labels: { a: "1" } }).digest).not.toBe(digest);
  });

  it("stamps no label that the event has itself", () => {
    const own = event({ labels: { zone: "b" } }, { ...bearer, labels: { zone: "a", region: "eu" } });
    expect(JSON.parse(own.body)).toMatchObject({ labels: { zone: "b" }, stamped: { region: "eu" } });
  });

  it("refuses an MCP that the key does not name, before it looks at anything else", () => {
    expect(verdict({ mcpId: "other", interactionId: "" }, keyBearer)).toMatchObject({ status: "permission_denied", retryable: false });
    expect(verdict({ mcpId: "" }, keyBearer)).toBeUndefined();
  });

  it("asks for an MCP when neither event nor bearer names one", () => {
    expect(verdict({ mcpId: "" })).toMatchObject({ status: "invalid", violations: [{ field: "mcp_id", reason: "REQUIRED" }] });
  });

  it("refuses an event of 256 KiB and a byte", () => {
    expect(verdict({ encodedBytes: 256 * 1024 })).toBeUndefined();
    expect(verdict({ encodedBytes: 256 * 1024 + 1 })).toMatchObject({ status: "too_large", retryable: false });
  });

  it("repeats no more of an id in a verdict than an id may have, whatever was sent", () => {
    const long = "\u{1F600}".repeat(100_000);
    const refused = verdict({ eventId: long, interactionId: long, sequence: 7n });
    expect(refused).toMatchObject({ status: "invalid", sequence: 7n });
    expect(refused?.eventId).toBe("\u{1F600}".repeat(128));
    expect(refused?.interactionId).toBe("\u{1F600}".repeat(128));
    expect(verdict({ eventId: "x".repeat(4 * 1024 * 1024), encodedBytes: 4 * 1024 * 1024 + 8 })?.eventId).toHaveLength(256);
  });

  it("tells an event two hours ahead when to come back", () => {
    expect(verdict({ occurredAt: at(noonMs + 2 * hourMs) })).toMatchObject({
      status: "clock_skew",
      retryable: true,
      retryAfterMs: 2 * hourMs - 10 * 60_000,
    });
    expect(verdict({ occurredAt: at(noonMs + 10 * 60_000) })).toBeUndefined();
  });

  it("takes the year 9999 for a mistake and not for a skew", () => {
    expect(verdict({ occurredAt: { seconds: 253_402_300_799n, nanos: 0 } })).toMatchObject({ status: "clock_skew", retryable: false });
  });

  it("judges the time inside an id like the time of the event", () => {
    expect(verdict({ eventId: mintAt(noonMs + 2 * hourMs) })).toMatchObject({ status: "clock_skew" });
    expect(verdict({ eventId: mintAt(noonMs - 8 * 24 * hourMs) })).toMatchObject({ status: "too_old", retryable: false });
    expect(verdict({ occurredAt: at(noonMs - 8 * 24 * hourMs) })).toMatchObject({ status: "too_old" });
  });

  it("accepts an old event whose id is young: it waited in an outbox", () => {
    expect(verdict({ eventId: mintAt(noonMs), occurredAt: at(noonMs - 30 * 24 * hourMs) })).toBeUndefined();
  });

  it("never lets a user id through", () => {
    const stored = event({ detail: { ...startDetail, userId: "alice" } as Draft["detail"] });
    expect(stored.body).toContain("u_alice");
    expect(stored.facts).toMatchObject({ userPseudonym: "u_alice" });
  });

  it("counts a complete without success as a failure, and one that says nothing as a success", () => {
    expect(event({ detail: { ...completeDetail, success: false } as Draft["detail"] }).facts).toMatchObject({
      success: false,
      durationMs: 1500,
    });
    expect(event({ detail: completeDetail }).facts).toMatchObject({ success: true });
  });

  it("gives the same answer for the same event at the same time", () => {
    fc.assert(
      fc.property(fc.record({ mcpId: fc.string(), interactionId: fc.string(), sessionId: fc.string() }), (more) => {
        expect(judge(more)).toEqual(judge(more));
      }),
    );
  });
});

/** A UUID version 7 of a given time. */
function mintAt(ms: number): string {
  return uuidV7FromHash(ms, mintUuidV7().replaceAll("-", "").slice(12));
}
