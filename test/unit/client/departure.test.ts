import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { DrainNoticeSchema, DrainReason } from "../../../gen/mcp/coordinator/v1/session_pb.js";
import { departureOf } from "../../../src/client/departure.js";

const notice = (reason: DrainReason, delayMs: number, deadlineMs: number) =>
  create(DrainNoticeSchema, { reason, reconnectDelay: durationFromMs(delayMs), deadline: durationFromMs(deadlineMs) });

describe("departureOf", () => {
  it("spends the delay sending, and reconnects at once after it", () => {
    expect(departureOf(notice(DrainReason.SHUTDOWN, 3_000, 20_000), true)).toEqual({
      leaveInMs: 3_000,
      reconnectMs: 0,
      overdueMs: 21_000,
      isFenced: false,
    });
  });

  it("stops at once and waits afterwards when the deadline leaves too little time, or nothing can be sent", () => {
    expect(departureOf(notice(DrainReason.SHUTDOWN, 600, 1_000), true)).toMatchObject({ leaveInMs: 0, reconnectMs: 600 });
    expect(departureOf(notice(DrainReason.SHUTDOWN, 600, 20_000), false)).toMatchObject({ leaveInMs: 0, reconnectMs: 600 });
  });

  it("stops at once when it is fenced: nothing it sends would be stored", () => {
    expect(departureOf(notice(DrainReason.FENCED, 600, 20_000), true)).toMatchObject({ leaveInMs: 0, isFenced: true });
  });
});
