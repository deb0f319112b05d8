import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readVerdicts, settlementOf } from "../../../src/client/transports/redis-verdicts.js";
import type { RedisReply } from "../../../src/platform/redis-connection.js";
import { anyReply, bytes } from "../../support/redis-reply.js";

const settled = (verdict: string, retryable: string, reason = "") => settlementOf("e", { verdict, retryable, reason }).outcome;

describe("verdicts from a Redis stream", () => {
  it("are read with their fields, in order", () => {
    const entry = (id: string, event: string): RedisReply => [bytes(id), ["event_id", event, "verdict", "STORED"].map(bytes)];
    const read = readVerdicts([[bytes("s"), [entry("1-0", "a"), entry("2-0", "b")]]]);
    expect(read).toEqual([
      { id: "1-0", eventId: "a", fields: { event_id: "a", verdict: "STORED" } },
      { id: "2-0", eventId: "b", fields: { event_id: "b", verdict: "STORED" } },
    ]);
    expect(readVerdicts(null)).toEqual([]);
  });

  it("resolve, set aside, or ask for a later try", () => {
    expect(settled("STORED", "0")).toBe("stored");
    expect(settled("DUPLICATE", "0")).toBe("duplicate");
    expect(settled("NOT_COLLECTED", "0")).toBe("not_collected");
    expect(settled("INVALID", "0")).toBe("rejected");
    expect(settled("CLOCK_SKEW", "1")).toBe("deferred");
    expect(settled("PERMISSION_DENIED", "1")).toBe("deferred");
    expect(settlementOf("e", {}).outcome).toBe("deferred");
    expect(settlementOf("e", { verdict: "INVALID", retryable: "0", reason: "mcp_id: REQUIRED" }).reason).toBe("INVALID mcp_id: REQUIRED");
  });

  it("are nothing when the answer is anything else", () => {
    fc.assert(
      fc.property(anyReply, (any) => {
        for (const verdict of readVerdicts(any)) expect(verdict.id).not.toBe("");
      }),
    );
  });
});
