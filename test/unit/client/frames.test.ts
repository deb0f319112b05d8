import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { StreamInteractionsRequestSchema } from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { encodeEvent, encodeEventFrame } from "../../../src/client/wire/frames.js";
import { msOf, timestampOf } from "../../../src/client/wire/time.js";

const event = (length: number) =>
  encodeEvent({
    interactionId: "i",
    detail: { case: "start", value: { request: { body: { case: "raw", value: new Uint8Array(length) } } } },
  });

test("events framed without decoding read back as the same events, at every width of a length prefix", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 1, 90, 127, 200, 16_300, 16_400, 300_000), { minLength: 1, maxLength: 6 }), (lengths) => {
      const encoded = lengths.map(event);
      const { frame } = fromBinary(StreamInteractionsRequestSchema, Uint8Array.from(encodeEventFrame(encoded)));
      expect(frame.case).toBe(lengths.length === 1 ? "event" : "eventBatch");
      const events = frame.case === "event" ? [frame.value] : frame.case === "eventBatch" ? frame.value.events : [];
      // As bytes: an assertion over arrays of hundreds of thousands of numbers takes seconds.
      expect(events.map((one) => Buffer.from(encodeEvent(one)).equals(encoded[events.indexOf(one)] ?? Buffer.alloc(0)))).toEqual(
        lengths.map(() => true),
      );
    }),
    { numRuns: 40 },
  );
});

test("wall times keep their nanoseconds within a microsecond and never leave the range of the wire", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (ms) => {
      const { seconds, nanos } = timestampOf(ms);
      expect(nanos).toBeGreaterThanOrEqual(0);
      expect(nanos).toBeLessThan(1e9);
      expect(Math.abs(msOf({ $typeName: "google.protobuf.Timestamp", seconds, nanos }, 0) - ms)).toBeLessThan(0.001);
    }),
  );
});
