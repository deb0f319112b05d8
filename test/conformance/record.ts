import type { InteractionEvent } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { RoutingAck, RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import type { DrainNotice, FlowControl, Heartbeat, Hello, Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { EndedBy } from "./relay.js";

/** A verdict on one event as the client got it. `retryAtMs`: monotonic time from which it may be sent again, when it may at all. */
export type SeenVerdict = {
  readonly eventId: string;
  /** Name of an EventStatus without its prefix. */
  readonly status: string;
  readonly isRetryable: boolean;
  readonly retryAtMs: number;
};

/** Something that happened between client and coordinator, seen from between. `atMs` is monotonic; `stream` counts from 0. */
export type Seen = { readonly atMs: number } & (
  | { readonly kind: "opened"; readonly stream: number; readonly connection: string; readonly authorization: string }
  | { readonly kind: "hello"; readonly stream: number; readonly hello: Hello }
  | { readonly kind: "welcome"; readonly stream: number; readonly welcome: Welcome }
  /** `isLedgered[i]`: whether the ledger had a `sent` line for `events[i]` before it arrived. */
  | {
      readonly kind: "events";
      readonly stream: number;
      readonly events: readonly InteractionEvent[];
      readonly isLedgered: readonly boolean[];
    }
  | { readonly kind: "verdicts"; readonly stream: number; readonly verdicts: readonly SeenVerdict[] }
  | { readonly kind: "flow"; readonly stream: number; readonly flow: FlowControl }
  | { readonly kind: "heartbeat"; readonly stream: number; readonly heartbeat: Heartbeat }
  | { readonly kind: "drain"; readonly stream: number; readonly notice: DrainNotice }
  /** `expected`: what the ack of this table has to be. */
  | { readonly kind: "table"; readonly stream: number; readonly update: RoutingUpdate; readonly expected: ExpectedAck }
  | { readonly kind: "routing_ack"; readonly stream: number; readonly ack: RoutingAck }
  | { readonly kind: "half_closed"; readonly stream: number }
  | { readonly kind: "ended"; readonly stream: number; readonly by: EndedBy; readonly code: number }
  /** `verdicts` undefined: the answer was lost. */
  | {
      readonly kind: "posted";
      readonly authorization: string;
      readonly mcpId: string;
      readonly events: readonly InteractionEvent[];
      readonly verdicts: readonly SeenVerdict[] | undefined;
    }
  | { readonly kind: "fault"; readonly fault: "kill" | "drain" | "mute" | "lose_grpc"; readonly stream: number }
  | { readonly kind: "healed" }
);

/** What an ack has to say of a table. `any`: whatever the client found, it only has to answer. */
export type ExpectedAck =
  | { readonly status: "applied"; readonly inForce: AppliedName }
  | {
      readonly status: "rejected";
      readonly rejection: "content" | "out_of_sync" | "stale_epoch";
      readonly inForce: AppliedName | undefined;
    }
  | { readonly status: "any" };

export type AppliedName = { readonly term: bigint; readonly version: bigint; readonly digest: bigint };

/** The record of a run, in the order in which things passed. Grows with the scenario, whose size is bounded. */
export class RunRecord {
  readonly seen: Seen[] = [];
  readonly #waiting = new Set<() => void>();

  add(seen: SeenInit): void {
    this.seen.push({ atMs: performance.now(), ...seen });
    for (const check of [...this.#waiting]) check();
  }

  /** Resolves true once `holds` does, or false after `maxMs`. Asked at everything that is added. */
  async until(holds: () => boolean, maxMs: number): Promise<boolean> {
    if (holds()) return true;
    return new Promise((resolve) => {
      const done = (result: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(result);
      };
      const check = (): void => {
        if (holds()) done(true);
      };
      const timer = setTimeout(() => done(holds()), maxMs);
      this.#waiting.add(check);
    });
  }
}

type WithoutTime<T> = T extends unknown ? Omit<T, "atMs"> : never;
export type SeenInit = WithoutTime<Seen>;

/** What was seen of one kind, in order. */
export function seenOf<K extends Seen["kind"]>(seen: readonly Seen[], kind: K): readonly Extract<Seen, { kind: K }>[] {
  return seen.filter((one): one is Extract<Seen, { kind: K }> => one.kind === kind);
}

/** One line for people who look for what went wrong: events by id and sequence, 64-bit numbers as text. */
export function lineOfSeen(seen: Seen): string {
  const short = "events" in seen ? { ...seen, events: seen.events.map(({ eventId, sequence }) => `${sequence}:${eventId}`) } : seen;
  return `${JSON.stringify(short, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))}\n`;
}
