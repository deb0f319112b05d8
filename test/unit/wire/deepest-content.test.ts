import { toJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { draftOf } from "../../../src/client/report.js";
import { eventInitOf } from "../../../src/client/wire/event.js";
import { decodeEvent, encodeEvent } from "../../../src/client/wire/frames.js";
import { accept, type Bearer } from "../../../src/ingest/accept.js";
import { checkDraft } from "../../../src/interaction/check.js";
import type { Json } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { mintUuidV7 } from "../../../src/platform/uuid-v7.js";
import { readEventBytes } from "../../../src/wire/event-bytes.js";
import { readReport } from "../../../src/wire/report-body.js";
import { storedEventToProto } from "../../../src/wire/stored-event.js";

/** Content nested as deeply as content may be, by objects and lists in turn. */
function deepest(): { readonly [key: string]: Json } {
  let inner: Json = "leaf";
  for (let level = limits.jsonMaxDepth; level > 1; level -= 1) inner = level % 2 === 0 ? [inner] : { inner };
  return { inner };
}

const nowMs = Date.now();
const identity = { eventId: mintUuidV7(), mcpId: "ocr", interactionId: "i-1", labels: {} };
const { draft, faults } = draftOf("complete", identity, { result: deepest() }, nowMs);
const encoded = encodeEvent(eventInitOf(draft));

test("a report with the deepest content that is allowed is taken, and can be read where it is kept", () => {
  expect([...faults, ...checkDraft(draft)]).toEqual([]);
  expect(encodeEvent(decodeEvent(encoded))).toEqual(encoded);
});

test("every way in reads it, as bytes and as JSON", () => {
  expect(readEventBytes(encoded)).toMatchObject({ kind: "draft" });
  const json: unknown = JSON.parse(JSON.stringify(toJson(InteractionEventSchema, decodeEvent(encoded))));
  expect(readReport({ event: json })).toMatchObject({ kind: "draft", draft: { detail: draft.detail } });
});

test("and it comes back from the store", () => {
  const bearer: Bearer = { principal: { kind: "anyone" }, mcpId: "", producerId: "", epoch: 0, labels: {}, source: "grpc" };
  const judged = accept({ pseudonym: (id) => id, maxClockSkewMs: 600_000, dedupeHorizonMs: 86_400_000 }, bearer, draft, nowMs);
  if (judged.kind === "refused") throw new Error(JSON.stringify(judged.verdict.violations));
  const { sequence, occurredAtUs, body, raw } = judged.event;
  const back = storedEventToProto({ ...identity, sequence, occurredAtUs, raw, body: JSON.parse(body) });
  expect(back.detail).toEqual(decodeEvent(encoded).detail);
});
