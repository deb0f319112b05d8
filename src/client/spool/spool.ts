import type { OutgoingEvent } from "../transports/transport.js";

/** Which events a full spool may drop: progress only. */
export type SpoolKind = "start" | "progress" | "complete" | "error";

export type SpoolFigures = {
  /** Events that wait for a verdict, and their encoded size in bytes. */
  readonly events: number;
  readonly bytes: number;
  /** Age of the oldest.     Units: ms. */
  readonly oldestMs: number;
  /** Refused for good, and kept to be looked at. */
  readonly setAside: number;
  /** Since it was opened: progress dropped for room or age; events not taken because the spool was full of others, or the disk was. */
  readonly droppedProgress: number;
  readonly refusedFull: number;
};

/** An event in the spool, with its place in the order in which they were reported. */
export type SpooledEvent = OutgoingEvent & { readonly place: number };

export type SetAside = SpooledEvent & { readonly reason: string; readonly atMs: number };

/** Events on disk from the moment they are reported until the coordinator has them. One process opens a spool at a time. */
export type Spool = {
  /** Takes an event without waiting for the disk; undefined when there is no room. It is durable once `flushed` resolves, and readable only then. */
  readonly put: (eventId: string, kind: SpoolKind, encoded: Uint8Array) => number | undefined;
  /** Whether the disk has refused, and takes nothing for a while. */
  readonly isRefusing: () => boolean;
  /** Resolves when everything put before is on disk. Rejects when the disk refuses: what was put since the last success is lost, and said so. */
  readonly flushed: () => Promise<void>;
  /** The next durable events after a place, in order, at most `maxCount`. */
  readonly readAfter: (place: number, maxCount: number) => readonly SpooledEvent[];
  /** Forgets events that are stored. */
  readonly forget: (places: readonly number[]) => void;
  /** Takes an event out of the order for good, and keeps it with the reason. */
  readonly setAside: (place: number, reason: string) => void;
  readonly listSetAside: (afterPlace: number, maxCount: number) => readonly SetAside[];
  readonly figures: () => SpoolFigures;
  readonly close: () => Promise<void>;
};
