import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { StreamInteractionsResponseSchema } from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { ackBatchFrame, drainNoticeFrame } from "../../../src/wire/frame.js";
import type { ServerFrame } from "../../../src/wire/server-frame.js";

const sent = (frame: ServerFrame) => fromBinary(StreamInteractionsResponseSchema, toBinary(StreamInteractionsResponseSchema, frame)).frame;

describe("a frame to a client", () => {
  it("carries times that are no whole milliseconds", () => {
    const timing = { queueWaitMs: 0.4219, commitMs: 1.75, batchEvents: 3 };
    expect(sent(ackBatchFrame({ resolvedThrough: 1n, ranges: [], exceptions: [], timing }))).toMatchObject({
      value: { timing: { queueWait: { nanos: 421_900 }, commitTime: { nanos: 1_750_000 } } },
    });
    expect(sent(drainNoticeFrame("shutdown", 1999.5, 12.25, true))).toMatchObject({
      value: { deadline: { seconds: 1n, nanos: 999_500_000 }, reconnectDelay: { nanos: 12_250_000 } },
    });
  });
});
