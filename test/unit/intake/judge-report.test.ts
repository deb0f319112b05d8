import { create, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { type AcceptDeps, accept } from "../../../src/ingest/accept.js";
import { type JudgeDeps, judgeReport, reasonOf } from "../../../src/intake/shared-table/judge-report.js";
import { limits } from "../../../src/platform/limits.js";
import { uuidV7FromHash } from "../../../src/platform/uuid-v7.js";
import type { WaitingReport } from "../../../src/store/waiting-reports.js";
import { readReport } from "../../../src/wire/report-body.js";
import { noonMs } from "../../support/draft.js";
import { type EventInit, makeEvent } from "../../support/make-event.js";

const acceptDeps: AcceptDeps = { pseudonym: (userId) => `u_${userId.length}`, maxClockSkewMs: 600_000, dedupeHorizonMs: 7 * 86_400_000 };
const deps: JudgeDeps = { read: readReport, judge: (bearer, draft) => accept(acceptDeps, bearer, draft, noonMs) };
const at = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1000)), nanos: 0 });

function reportOf(data: string, more: Partial<WaitingReport> = {}): WaitingReport {
  return { id: "1", mcpId: "demo", interactionId: "i-1", dataBytes: Buffer.byteLength(data), data, ...more };
}

function dataOf(more: EventInit = {}): string {
  const event = create(InteractionEventSchema, makeEvent({ occurredAt: at(noonMs), ...more }));
  return JSON.stringify({ event: toJson(InteractionEventSchema, event) });
}

describe("judging a row of the shared table", () => {
  it("whatever JSON it holds, a row gets one of the four answers, and the same one again", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.string(), fc.string(), (data, mcpId, interactionId) => {
        const report = reportOf(data, { mcpId, interactionId });
        const judged = judgeReport(deps, report);
        expect(["event", "refused", "unreadable", "early"]).toContain(judged.kind);
        expect(judgeReport(deps, report)).toEqual(judged);
      }),
    );
  });

  it("an event is the same event whether the columns or the body name it", () => {
    const named = fc.record({ mcp: fc.boolean(), interaction: fc.boolean(), mcpColumn: fc.boolean(), interactionColumn: fc.boolean() });
    const whole = judgeReport(deps, reportOf(dataOf({ mcpId: "demo", interactionId: "i-1" })));
    fc.assert(
      fc.property(named, ({ mcp, interaction, mcpColumn, interactionColumn }) => {
        const data = dataOf({ mcpId: mcp ? "demo" : "", interactionId: interaction ? "i-1" : "" });
        const judged = judgeReport(
          deps,
          reportOf(data, { mcpId: mcpColumn ? "demo" : "", interactionId: interactionColumn ? "i-1" : "" }),
        );
        const isNamed = (mcp || mcpColumn) && (interaction || interactionColumn);
        expect(judged.kind).toBe(isNamed ? "event" : "refused");
        if (judged.kind === "event" && whole.kind === "event") {
          const { eventId, mcpId, interactionId, digest } = judged.event;
          expect({ eventId, mcpId, interactionId, digest }).toEqual({
            eventId: whole.event.eventId,
            mcpId: "demo",
            interactionId: "i-1",
            digest: whole.event.digest,
          });
        }
      }),
    );
  });

  it("columns and a body that name two different ones are refused by the name of the field", () => {
    expect(judgeReport(deps, reportOf(dataOf(), { mcpId: "other", interactionId: "i-2" }))).toMatchObject({
      kind: "unreadable",
      faults: [
        { field: "mcp_id", reason: "CONTRADICTS_COLUMN" },
        { field: "interaction_id", reason: "CONTRADICTS_COLUMN" },
      ],
    });
  });

  it("a row that was too long to be sent says how long it is", () => {
    expect(judgeReport(deps, reportOf("", { data: undefined, dataBytes: 9_000_000 }))).toMatchObject({
      kind: "unreadable",
      faults: [{ field: "data", reason: "TOO_LARGE", description: expect.stringContaining("9000000") }],
    });
  });

  it("an event a little ahead of its time is early; one far ahead, or too old, is refused for good", () => {
    const kindAt = (ms: number) => judgeReport(deps, reportOf(dataOf({ eventId: uuidV7FromHash(noonMs, "ab".repeat(16)), occurredAt: at(ms) }))).kind;
    expect(kindAt(noonMs + 3_600_000)).toBe("early");
    expect(kindAt(noonMs + limits.skewRetryMaxMs * 3)).toBe("refused");
    expect(judgeReport(deps, reportOf(dataOf({ occurredAt: at(noonMs - 30 * 86_400_000) })))).toMatchObject({
      kind: "refused",
      verdict: { status: "too_old" },
    });
  });

  it("a reason names the status and the first faults, and no more of them than a verdict does", () => {
    const fault = { field: "f", reason: "R", description: "d" };
    expect(reasonOf("too_large", [])).toBe("TOO_LARGE");
    expect(reasonOf("invalid", Array.from({ length: 100 }, () => fault)).split("; ")).toHaveLength(1 + limits.violationMaxCount);
  });
});
