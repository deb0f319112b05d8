import { create, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type InteractionEvent, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import type { EventInit } from "../support/make-event.js";

/** What has to become of an event: stored; stored once its time has come; refused for good. */
export type Destiny = "stored" | "stored_later" | "refused";

/** One event that the client under test is told to report. Its sequence is the client's. */
export type Told = { readonly event: InteractionEvent; readonly destiny: Destiny };

/** The MCP that every client under test is. */
export const mcpId = "conformance";

/** The line by which a client is told an event: the event as proto3 JSON. */
export const lineOf = ({ event }: Told): string => `${toJsonString(InteractionEventSchema, event)}\n`;

/** Makes the events of a run. Ids are fresh, because events older than the dedupe horizon are refused. */
export class Material {
  readonly all: Told[] = [];
  #interactions = 0;

  /** `count` interactions of three events each: start, progress with `payloadBytes`, and complete or, for each fifth, error. */
  interactions(count: number, payloadBytes: number): readonly Told[] {
    const filler = new Uint8Array(payloadBytes).fill(120);
    return Array.from({ length: count }).flatMap(() => {
      const interactionId = this.#nextInteraction();
      const progress = payloadBytes === 0 ? {} : { data: { body: { case: "raw" as const, value: filler }, contentType: "text/plain" } };
      return [
        this.#tell({
          interactionId,
          detail: { case: "start", value: { requestType: "conformance", parameters: { größe: 1, tags: ["a", null] } } },
        }),
        this.#tell({ interactionId, detail: { case: "progress", value: { fraction: 0.5, step: "half", ...progress } } }),
        this.#tell({ interactionId, detail: this.#interactions % 5 === 0 ? failed : completed }),
      ];
    });
  }

  /** Four good events with one that breaks a rule between them. */
  unfit(): readonly Told[] {
    const good = () =>
      this.#tell({ interactionId: this.#nextInteraction(), detail: { case: "start", value: { requestType: "conformance" } } });
    const bad = () => {
      const detail = { case: "complete" as const, value: { qualityScore: 2 } };
      return this.#tell({ interactionId: this.#nextInteraction(), detail }, "refused");
    };
    return [good(), good(), bad(), good(), good()];
  }

  /** An event of `aheadMs` from now between two of now: refused until its time has come. */
  early(aheadMs: number): readonly Told[] {
    const at = (ms: number, destiny: Destiny) =>
      this.#tell(
        { interactionId: this.#nextInteraction(), occurredAt: timestampFromMs(Date.now() + ms), detail: { case: "start", value: {} } },
        destiny,
      );
    return [at(0, "stored"), at(aheadMs, "stored_later"), at(0, "stored")];
  }

  #nextInteraction(): string {
    this.#interactions += 1;
    return `c-${this.#interactions}`;
  }

  #tell(init: EventInit, destiny: Destiny = "stored"): Told {
    const event = create(InteractionEventSchema, { eventId: mintUuidV7(), occurredAt: timestampFromMs(Date.now()), ...init });
    const told = { event, destiny };
    this.all.push(told);
    return told;
  }
}

const completed: NonNullable<EventInit["detail"]> = {
  case: "complete",
  value: { success: true, processingTime: { seconds: 0n, nanos: 25_000_000 }, qualityScore: 0.9 },
};
const failed: NonNullable<EventInit["detail"]> = {
  case: "error",
  value: { errorType: "TimeoutError", errorCode: "UPSTREAM_TIMEOUT", errorMessage: "äußerst langsam", retryable: true },
};
