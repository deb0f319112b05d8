import { pino } from "pino";
import { expect, it } from "vitest";
import { RoutingAckSchema } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { decodeFrame } from "../../../src/rpc/grpc-definition.js";
import { createUndecodableLog } from "../../../src/rpc/undecodable-log.js";

it("a flood of undecodable frames makes a line a second, which counts the others", () => {
  const lines: { head: string; skippedCount: number }[] = [];
  let nowMs = 0;
  const log = createUndecodableLog(pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }), () => nowMs);
  const frame = decodeFrame(RoutingAckSchema, Buffer.alloc(1_000, 0xff));
  if (frame.kind !== "undecodable") throw new Error("0xff is no message");
  for (let count = 0; count < 50; count += 1) log(frame, { rpc: "/a.A/B", requestId: "r" });
  nowMs = 1_000;
  log(frame, { rpc: "/a.A/B", requestId: "r" });
  expect(lines).toMatchObject([
    { head: "ff".repeat(64), skippedCount: 0 },
    { head: "ff".repeat(64), skippedCount: 49 },
  ]);
});
