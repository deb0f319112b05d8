import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { McpConfigAckSchema } from "../../../gen/mcp/coordinator/v1/mcp_config_pb.js";
import { ApplyStatus } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import { limits } from "../../../src/platform/limits.js";
import { mcpConfigAnswerFromProto } from "../../../src/wire/mcp-config.js";

const answerOf = (version: bigint, detail: string) =>
  mcpConfigAnswerFromProto(create(McpConfigAckSchema, { nonce: "m1", version, status: ApplyStatus.REJECTED, detail }));

describe("a client's answer to a configuration", () => {
  it("is safe to store whatever its text holds, and cut between characters", () => {
    expect(answerOf(3n, "no\0such\0field")).toEqual({ nonce: "m1", version: 3, status: "rejected", detail: "no\ufffdsuch\ufffdfield" });
    const long = answerOf(3n, `x${"\u{1f600}".repeat(limits.idMaxBytes)}`)?.detail ?? "";
    expect(long.isWellFormed()).toBe(true);
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(limits.idMaxBytes);
    expect(Buffer.byteLength(long)).toBeGreaterThan(limits.idMaxBytes - 4);
  });

  it("is none when it names a version that nobody was ever given", () => {
    expect(answerOf(BigInt(Number.MAX_SAFE_INTEGER), "")?.version).toBe(Number.MAX_SAFE_INTEGER);
    expect(answerOf(BigInt(Number.MAX_SAFE_INTEGER) + 1n, "")).toBeUndefined();
    expect(answerOf(2n ** 64n - 1n, "")).toBeUndefined();
  });
});
