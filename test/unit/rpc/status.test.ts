import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.js";
import { CoordinatorError, type ErrorCode, errorReasons, errorTable } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";
import { connectCodes, logRefusal, toConnectError, toGrpcStatus, toRpcStatus } from "../../../src/rpc/status.js";
import { refusalOf } from "../../../src/store/refusal.js";
import { StoreFault } from "../../../src/store/store.js";

const codes = Object.keys(errorTable) as ErrorCode[]; // keys of a constant object

describe("a refusal", () => {
  it.each(codes)("%s has the same number in gRPC and in Connect", (code) => {
    expect(connectCodes[code]).toBe(errorTable[code].grpc);
    const error = new CoordinatorError(code, "sentence", { reason: "FIELD_VIOLATION" });
    expect(toGrpcStatus(error, "r").code).toBe(errorTable[code].grpc);
    expect(toConnectError(error, "r").code).toBe(errorTable[code].grpc);
  });

  it("carries ErrorInfo, BadRequest, RetryInfo and RequestInfo", () => {
    const fields = [{ field: "a.b", reason: "REQUIRED", description: "must be set" }];
    const error = new CoordinatorError("busy", "no room", { reason: "QUEUE_FULL", retryAfterMs: 1_250, fields, metadata: { max: "7" } });
    const details = toRpcStatus(error, "r-1").details;
    expect(
      details.map((any) =>
        [
          anyUnpack(any, ErrorInfoSchema),
          anyUnpack(any, BadRequestSchema),
          anyUnpack(any, RetryInfoSchema),
          anyUnpack(any, RequestInfoSchema),
        ].find((one) => one !== undefined),
      ),
    ).toMatchObject([
      { reason: "QUEUE_FULL", domain: "coordinator.mcp.v1", metadata: { max: "7" } },
      { fieldViolations: [{ field: "a.b", reason: "REQUIRED", description: "must be set" }] },
      { retryDelay: { seconds: 1n, nanos: 250_000_000 } },
      { requestId: "r-1" },
    ]);
  });

  it("names the quota that is used up", () => {
    const quota = { subject: "key:k-1", description: "a key has 2 sessions at most" };
    const error = new CoordinatorError("busy", "too many", { reason: "KEY_SESSIONS_EXHAUSTED", retryAfterMs: 1_000, quota });
    const found = toRpcStatus(error, "r").details.map((any) => anyUnpack(any, QuotaFailureSchema));
    expect(found.find((one) => one !== undefined)?.violations).toMatchObject([quota]);
  });

  it("that is broken tells nothing, whatever it holds", () => {
    const secret = {
      reason: "FIELD_VIOLATION",
      metadata: { path: "/secret" },
      fields: [{ field: "secret", reason: "R", description: "secret" }],
    } as const;
    const error = new CoordinatorError("broken", "secret", { ...secret, retryAfterMs: 1 });
    const status = toGrpcStatus(error, "r");
    expect(status.details).toBe("internal error");
    expect(Buffer.from(toBinary(StatusSchema, toRpcStatus(error, "r"))).toString("latin1")).not.toContain("secret");
    const web = toConnectError(error, "r");
    expect(web.rawMessage).toBe("internal error");
    expect(web.findDetails(BadRequestSchema)).toEqual([]);
    expect(web.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "INTERNAL", metadata: {} }]);
  });

  it("fits a header and can be encoded, whatever a peer made us say", () => {
    const text = fc.string({ unit: "binary", maxLength: 3_000 });
    const broken = fc.constantFrom("\ud800", "\udc00x", "ok");
    const fault = fc.record({ field: text, reason: fc.constant("MALFORMED"), description: fc.tuple(text, broken).map(([a, b]) => a + b) });
    fc.assert(
      fc.property(fc.tuple(text, broken), fc.array(fault, { maxLength: 40 }), ([message, end], fields) => {
        const status = toGrpcStatus(
          new CoordinatorError("invalid", end + message, { reason: "FIELD_VIOLATION", fields, metadata: { k: message } }),
          "r",
        );
        encodeURI(status.details); // as grpc-js does; throws on a lone surrogate
        const [bytes] = status.metadata.get("grpc-status-details-bin");
        if (!(bytes instanceof Buffer)) throw new Error("details are binary");
        expect(bytes.byteLength).toBeLessThanOrEqual(limits.statusDetailsMaxBytes);
        expect(fromBinary(StatusSchema, bytes).details.length).toBeGreaterThanOrEqual(2);
      }),
      { numRuns: 60 },
    );
  });
});

describe("the funnel", () => {
  it.each([
    [new CoordinatorError("gone", "past", { reason: "INTERACTION_NOT_FOUND" }), "gone", "INTERACTION_NOT_FOUND"],
    [new StoreFault("outage", "ECONNREFUSED", "no"), "unavailable", "STORE_UNAVAILABLE"],
    [new StoreFault("outage", "25006", "no"), "unavailable", "STORE_READ_ONLY"],
    [new StoreFault("transient", "40P01", "no"), "unavailable", "STORE_UNAVAILABLE"],
    [new StoreFault("poison", "22021", "no"), "broken", "INTERNAL"],
    [new TypeError("x"), "broken", "INTERNAL"],
    ["thrown text", "broken", "INTERNAL"],
    [undefined, "broken", "INTERNAL"],
  ])("turns %s into %s %s", (thrown, code, reason) => {
    expect(refusalOf(thrown)).toMatchObject({ code, reason });
  });
});

describe("the log", () => {
  it("has the cause of a bug, the fault of a store, and nothing of a caller's own mistake", () => {
    const lines: { level: number; err?: { message: string } }[] = [];
    const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line)) });
    const call = { rpc: "/a.A/B", requestId: "r" };
    logRefusal(log, refusalOf(new TypeError("our bug")), call);
    logRefusal(log, refusalOf(new StoreFault("outage", "08006", "lost")), call);
    logRefusal(log, new CoordinatorError("invalid", "your mistake", { reason: "FIELD_VIOLATION" }), call);
    expect(lines.map(({ level, err }) => [level, err?.message])).toEqual([
      [50, "our bug"],
      [40, "lost"],
    ]);
  });
});

it("every reason is a word that google.rpc.ErrorInfo allows", () => {
  for (const reason of Object.keys(errorReasons)) expect(reason).toMatch(/^[A-Z][A-Z0-9_]{0,61}[A-Z0-9]$/);
});
