import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { Capability, WelcomeSchema } from "../../../gen/mcp/coordinator/v1/session_pb.js";
import { Terms } from "../../../src/client/terms.js";
import { limits } from "../../../src/platform/limits.js";

const beatOf = (heartbeatInterval: { readonly seconds: bigint; readonly nanos: number }): number | undefined => {
  const terms = new Terms(undefined);
  terms.welcomed(create(WelcomeSchema, { capabilities: [Capability.HEARTBEAT], config: { heartbeatInterval } }));
  return terms.heartbeatMs;
};

test("a Welcome says how often to send a heartbeat", () => {
  expect(beatOf({ seconds: 2n, nanos: 500_000_000 })).toBe(2_500);
});

test.each([0n, -5n, 2_147_484n, 2n ** 62n])("a heartbeat interval of %d s makes no sense, and is the usual one", (seconds) => {
  expect(beatOf({ seconds, nanos: 0 })).toBe(limits.heartbeatIntervalMs);
});
