import type { TlsFaultKind } from "../tls-fault.js";
import type { EventInit } from "../wire/frames.js";

export type TransportName = "grpc" | "http" | "redis" | "database";

/** An event that is on its way: the id under which the coordinator knows it, and what it holds. Without a sequence. */
export type OutgoingEvent = {
  readonly eventId: string;
  readonly event: EventInit;
  /** The same event as it was encoded, where it is at hand: whoever sends bytes need not make them again. */
  readonly encoded?: Uint8Array;
};

/**
 * What became of an event. Only `stored`, `duplicate` and `not_collected` resolve it; `rejected` sets it aside for good. `deferred` asks for a later try: the transport does not keep it.
 */
export type Settlement = {
  readonly eventId: string;
  readonly outcome: "stored" | "duplicate" | "not_collected" | "rejected" | "deferred";
  /** Why it was rejected or deferred: the verdict's name and its first violation. Empty otherwise. */
  readonly reason: string;
  /** How long a deferred event should wait, where the coordinator said so.     Units: ms. */
  readonly retryAfterMs?: number;
};

/**
 * `down`: at the last try it could not be used; `why` is for people, `tls` names the fault when no TLS could be had, and `denied` what the user of a Redis may not do and has to: a command
 * and its key. `idle`: not tried yet.
 */
export type TransportHealth = {
  readonly state: "idle" | "connecting" | "up" | "down";
  readonly why: string;
  readonly tls?: TlsFaultKind;
  readonly denied?: readonly string[];
};

/** One way to a coordinator. Nothing here throws or rejects: what fails becomes health, and a settlement that does not come. */
export type Transport = {
  readonly name: TransportName;
  readonly health: () => TransportHealth;
  /**
   * Takes events in order, as many as it has room for, from the front; gives their number. Each is settled once, or never when the transport is stopped before: then
   * it must be offered again, here or elsewhere. Offering the same event twice is harmless: it is a duplicate.
   */
  readonly offer: (events: readonly OutgoingEvent[]) => number;
  /** Checks whether it could be used, without an event: within `transportProbeMaxMs`. What it found is in `health`. */
  readonly probe: () => Promise<void>;
  /** Something else is back after an outage: whatever is tried again only after a pause is tried soon. Absent where `probe` does that. */
  readonly hasten?: () => void;
  /** Takes nothing more and waits at most `graceMs` for settlements. Idempotent. */
  readonly stop: (graceMs: number) => Promise<void>;
};

/** What a transport calls. Must not throw. */
export type TransportEvents = {
  readonly onSettled: (settlement: Settlement) => void;
  /** Health changed, or there is room again. */
  readonly onChange: () => void;
};
