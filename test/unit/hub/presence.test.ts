import { describe, expect, it } from "vitest";
import { Presence, type Strain } from "../../../src/hub/presence.js";
import { openSession, type SessionEvent, step } from "../../../src/hub/session.js";
import type { Terms } from "../../../src/hub/traffic.js";
import { relaxed } from "../../../src/hub/window.js";
import { CoordinatorError } from "../../../src/platform/errors.js";

const terms: Terms = { grant: relaxed.grant, silenceMaxMs: 45_000, drainAtMs: 100_000_000 };
const hello: SessionEvent = { kind: "hello", promises: { heartbeat: true, flowControl: true, drain: true } };
const fault: SessionEvent = { kind: "fault", error: new CoordinatorError("invalid", "no", { reason: "UNDECODABLE_FRAME" }) };
const report: SessionEvent = { kind: "events", count: 1, bytes: 10, hasRoom: true };
const drain: SessionEvent = { kind: "drain", reason: "shutdown", untilMs: 9_000 };

/** What a watch is told of a session to which all this happens, a millisecond apart. */
function told(events: readonly SessionEvent[]): readonly string[] {
  const heard: string[] = [];
  const presence = new Presence(
    {
      opened: (mcpId, sessionId) => heard.push(`opened ${mcpId} ${sessionId}`),
      closed: (mcpId, sessionId, how) => heard.push(`closed ${mcpId} ${sessionId} ${how}`),
      suspected: (mcpId, sessionId, isSuspect) => heard.push(`suspected ${mcpId} ${sessionId} ${isSuspect}`),
      reported: () => {},
      strained: () => {},
    },
    "s",
  );
  let session = openSession(0, terms);
  for (const [at, event] of [hello, { kind: "opened" } as const, ...events].entries()) {
    const taken = step(session, event, at + 1);
    presence.moved(session, taken, "a", at + 1);
    session = taken.next;
  }
  return heard;
}

describe("the presence of an MCP", () => {
  it("tells how it keeps up when that changes, and nothing before it is known whose session it is", () => {
    const heard: Strain[] = [];
    const watch = { opened: () => {}, closed: () => {}, suspected: () => {}, reported: () => {} };
    const presence = new Presence({ ...watch, strained: (_mcpId, _sessionId, strain) => heard.push(strain) }, "s");
    presence.keepsUp({ unansweredTables: 2, heartbeatJitter: 0 });
    const opened = step(openSession(0, terms), report, 1);
    presence.moved(openSession(0, terms), opened, "a", 1);
    for (const [unansweredTables, heartbeatJitter] of [
      [0, 0],
      [0, 0.02],
      [1, 0.02],
      [1, 0.02],
      [1, 0.61],
      [0, 0],
    ] as const) {
      presence.keepsUp({ unansweredTables, heartbeatJitter });
    }
    expect(heard).toEqual([
      { unansweredTables: 1, heartbeatJitter: 0 },
      { unansweredTables: 1, heartbeatJitter: 0.6 },
      { unansweredTables: 0, heartbeatJitter: 0 },
    ]);
  });

  it.each<readonly [string, readonly SessionEvent[], string]>([
    ["an idle session that half-closes", [{ kind: "half_close" }], "orderly"],
    ["a session that half-closes with an event outstanding", [report, { kind: "half_close" }], "orderly"],
    ["a session that was drained", [drain, { kind: "half_close" }], "orderly"],
    ["a session that was drained and whose peer then goes", [drain, { kind: "gone" }], "orderly"],
    ["a session whose peer is gone", [{ kind: "gone" }], "lost"],
    ["a session that ends for a fault", [fault], "lost"],
  ])("of %s ends once, and it is told how", (_, events, how) => {
    expect(told([...events, { kind: "gone" }])).toEqual(["opened a s", `closed a s ${how}`]);
  });
});
