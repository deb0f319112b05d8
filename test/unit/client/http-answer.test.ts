import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { EventStatus } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { ReportInteractionsResponseSchema } from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { readHttpAnswer, readProbeAnswer } from "../../../src/client/transports/http-answer.js";

const answer = (status: number, headers: Readonly<Record<string, string>>, body: Uint8Array | string = "") => ({
  status,
  header: (name: string) => headers[name],
  body: Buffer.from(body),
});
const proto = { "content-type": "application/proto" };
const json = { "content-type": "application/json" };
const acks = (count: number) =>
  toBinary(
    ReportInteractionsResponseSchema,
    create(ReportInteractionsResponseSchema, { acks: Array.from({ length: count }, () => ({ status: EventStatus.STORED })) }),
  );

test("verdicts are taken when there is one for each event", () => {
  expect(readHttpAnswer(answer(200, proto, acks(3)), 3, 0)).toMatchObject({ kind: "verdicts" });
  expect(readHttpAnswer(answer(200, proto, acks(2)), 3, 0)).toMatchObject({
    kind: "unusable",
    why: expect.stringContaining("2 verdicts on 3"),
  });
});

test.each([
  ["a page of a proxy", answer(200, { "content-type": "text/html" }, "<html>"), "unusable", "no coordinator: 200 with text/html"],
  ["bytes that are no message", answer(200, proto, Buffer.from([255])), "unusable", "not the message"],
  ["a wrong key", answer(401, json, '{"code":"unauthenticated","message":"no"}'), "unusable", "the key was refused"],
  ["a key of another MCP", answer(403, json, '{"code":"permission_denied"}'), "unusable", "may not act for this mcp_id"],
  ["a gateway without a coordinator", answer(502, { via: "1.1 edge" }), "unusable", "the proxy 1.1 edge"],
  ["a redirect", answer(301, { location: "https://else/" }), "unusable", "redirects to https://else/"],
  ["nothing served there", answer(404, { "content-type": "text/plain" }), "unusable", "check coordinatorUrl"],
  ["a body that is too large for a proxy", answer(413, {}), "indigestible", "HTTP 413"],
  ["a body that is no request", answer(400, json, '{"code":"invalid_argument","message":"bad"}'), "indigestible", "bad"],
  ["a rate limit", answer(429, { "retry-after": "7" }), "busy", "HTTP 429"],
  [
    "a coordinator that drains",
    answer(503, json, '{"code":"unavailable","message":"draining"}'),
    "unusable",
    "cannot take reports now: draining",
  ],
])("%s is understood", (_, given, kind, why) => {
  expect(readHttpAnswer(given, 1, 0)).toMatchObject({ kind, why: expect.stringContaining(why) });
});

test("Retry-After is seconds or a date, never longer than allowed", () => {
  const waits = ["7", new Date(60_000).toUTCString(), "999999999", "soon"].map((value) => {
    const read = readHttpAnswer(answer(429, { "retry-after": value }), 1, 50_000);
    return read.kind === "busy" ? read.retryAfterMs : undefined;
  });
  expect(waits).toEqual([7_000, 10_000, 300_000, 1_000]);
});

test("whatever answers, it has a meaning", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 599 }),
      fc.constantFrom(proto, json, {}),
      fc.uint8Array({ maxLength: 64 }),
      (status, headers, body) => {
        expect(readHttpAnswer(answer(status, headers, body), 1, 0).kind).toMatch(/verdicts|busy|indigestible|unusable/);
      },
    ),
  );
});

test("a probe passes when a coordinator answers that takes the key", () => {
  expect(readProbeAnswer(answer(200, proto), 0)).toBeUndefined();
  expect(readProbeAnswer(answer(401, json, '{"code":"unauthenticated","message":"no"}'), 0)).toContain("the key was refused");
});
