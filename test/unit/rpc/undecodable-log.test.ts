import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, it } from "vitest";
import { StreamInteractionsRequestSchema } from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { RoutingAckSchema } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { limits } from "../../../src/platform/limits.js";
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
    { head: "ff".repeat(limits.undecodableHeadBytes), skippedCount: 0 },
    { head: "ff".repeat(limits.undecodableHeadBytes), skippedCount: 49 },
  ]);
});

it("a credential in a frame that cannot be decoded does not get into the log", () => {
  const lines: string[] = [];
  const log = createUndecodableLog(pino({}, { write: (line: string) => lines.push(line) }));
  const token = "sk-mcp-v2-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
  const sound = toBinary(
    StreamInteractionsRequestSchema,
    create(StreamInteractionsRequestSchema, { frame: { case: "credentialRefresh", value: { token } } }),
  );
  const frame = decodeFrame(StreamInteractionsRequestSchema, Buffer.concat([sound, Buffer.from([0xff])]));
  if (frame.kind !== "undecodable") throw new Error("a lone 0xff is no field");
  log(frame, { rpc: "/a.A/B", requestId: "r" });
  expect(lines.join("")).not.toContain(Buffer.from(token).toString("hex").slice(0, 16));
});
