import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type InteractionEvent, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { limits } from "../../src/platform/limits.js";
import { uuidV7FromHash } from "../../src/platform/uuid-v7.js";
import type { Draw } from "./draw.js";

/** What is the matter with an event, which decides the verdict it must get. */
export type Flaw =
  | "none"
  /** Breaks a rule: INVALID. */
  | "invalid"
  /** A little ahead of our clock: CLOCK_SKEW, retryable. */
  | "skewed"
  /** Years ahead: CLOCK_SKEW, final. */
  | "astray"
  | "old"
  | "large"
  /** Names an MCP that the sender may not act for. */
  | "foreign"
  /** The store refuses it: INVALID, and a dead letter. */
  | "poison"
  /** Makes the store's own code fail: handled as poison. */
  | "bug";

/** `heavy` really holds a payload of the largest size; `bulky` only says so of itself, which costs nothing and fills a window all the same. */
export type Size = "heavy" | "bulky";

/** One event of the world, and every content that was ever sent under its id. */
export type Item = {
  readonly number: number;
  readonly flaw: Flaw;
  /** Empty: the coordinator derives one. Such an item has an interaction of its own, so that its acks can be told apart. */
  readonly eventId: string;
  readonly mcpId: string;
  readonly interactionId: string;
  readonly sequence: bigint;
  /** Bytes that the event claims to have on the wire. */
  readonly bytes: number;
  /** Variant 0 is the honest one; the others reuse its id with other content. */
  readonly variants: InteractionEvent[];
};

/** Large payload of heavy events, shared: only its length and its hash matter. */
const heavyPayload = new Uint8Array(250_000);

const sizes = { heavy: heavyPayload.byteLength + 100, bulky: limits.eventMaxBytes } as const satisfies Record<Size, number>;

/** Makes events and knows every one that was made. */
export class Workload {
  readonly items: Item[] = [];
  readonly #byEventId = new Map<string, Item>();
  readonly #byInteraction = new Map<string, Item>();
  readonly #draw: Draw;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  make(flaw: Flaw, mcpId: string, sequence: bigint, nowMs: number, size?: Size): Item {
    const draw = this.#draw;
    const number = this.items.length;
    const hasId = sequence > 0n || flaw !== "none" || draw.chance(0.7);
    const eventId = hasId ? uuidV7FromHash(flaw === "old" ? nowMs - 8 * dayMs : nowMs, draw.hex(20)) : "";
    const item: Item = {
      number,
      flaw,
      eventId,
      mcpId: flaw === "foreign" ? "somebody-else" : mcpId,
      interactionId: hasId ? `i-${draw.below(4)}` : `solo-${number}`,
      sequence,
      bytes: flaw === "large" ? limits.eventMaxBytes + 1 : size === undefined ? draw.between(60, 400) : sizes[size],
      variants: [],
    };
    this.items.push(item);
    if (hasId) this.#byEventId.set(eventId, item);
    else this.#byInteraction.set(item.interactionId, item);
    item.variants.push(this.#message(item, 0, timeOf(flaw, nowMs, draw), size === "heavy"));
    return item;
  }

  /** Other content under the id of an item. Gives its number. */
  vary(item: Item): number {
    const [honest] = item.variants;
    if (honest === undefined) throw new Error("every item has its honest content");
    const variant = item.variants.length;
    item.variants.push({ ...honest, traceParent: tagOf(item, variant) });
    return variant;
  }

  /** The item that an ack or a row is about. `eventId` may be a derived one. */
  find(eventId: string, interactionId: string): Item | undefined {
    return this.#byEventId.get(eventId) ?? this.#byInteraction.get(interactionId);
  }

  #message(item: Item, variant: number, occurredAtMs: number, isHeavy: boolean): InteractionEvent {
    const event = create(InteractionEventSchema);
    event.eventId = item.eventId;
    event.sequence = item.sequence;
    event.mcpId = item.mcpId;
    event.interactionId = item.flaw === "invalid" ? `${item.interactionId}\0` : item.interactionId;
    event.occurredAt = timestampFromMs(occurredAtMs);
    event.traceParent = tagOf(item, variant);
    event.detail = detailOf(this.#draw, isHeavy);
    return event;
  }
}

/** Names a content: item and variant. It travels in trace_parent, through the content, into the row. */
export const tagOf = (item: Item, variant: number): string => `t${item.number}.${variant}`;

/** The item that a tag belongs to. */
export const itemNumberOf = (tag: string): number => Number.parseInt(tag.slice(1), 10);

/** The tag inside a stored body. */
export function tagInBody(body: string): string {
  return /"trace_parent":"([^"]*)"/.exec(body)?.[1] ?? "";
}

const dayMs = 86_400_000;

function timeOf(flaw: Flaw, nowMs: number, draw: Draw): number {
  if (flaw === "skewed") return nowMs + 700_000;
  if (flaw === "astray") return nowMs + 400 * dayMs;
  return nowMs - draw.below(5_000);
}

function detailOf(draw: Draw, isHeavy: boolean): InteractionEvent["detail"] {
  if (isHeavy) {
    const detail = create(InteractionEventSchema, {
      detail: { case: "start", value: { requestType: "heavy", request: { body: { case: "raw", value: heavyPayload } } } },
    });
    return detail.detail;
  }
  return draw.pick(details);
}

/** A few contents of each kind; events share them, since nothing ever writes to them. */
const details: readonly InteractionEvent["detail"][] = [
  create(InteractionEventSchema, { detail: { case: "start", value: { requestType: "search" } } }).detail,
  create(InteractionEventSchema, { detail: { case: "start", value: { requestType: "ocr", userId: "u" } } }).detail,
  create(InteractionEventSchema, { detail: { case: "progress", value: { fraction: 0.5 } } }).detail,
  create(InteractionEventSchema, { detail: { case: "complete", value: { success: true, processingTime: { seconds: 1n } } } }).detail,
  create(InteractionEventSchema, { detail: { case: "complete", value: { success: false, qualityScore: 0.25 } } }).detail,
  create(InteractionEventSchema, { detail: { case: "error", value: { errorCode: "E1", errorMessage: "failed" } } }).detail,
];
