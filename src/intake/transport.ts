import type { Source } from "../interaction/event.js";

/** What a way in has done and how it is. Counts are since the start. */
export type TransportFigures = {
  readonly name: Source;
  /** `off`: not configured. `down`: configured, and what it reads from cannot be reached; reports wait there, none is lost. */
  readonly state: "off" | "up" | "down";
  /** Why it is down, or the last reason it was; for people. */
  readonly detail: string;
  readonly received: number;
  /** Stored, or stored before. */
  readonly resolved: number;
  readonly refused: number;
  /** Taken out of the way after too many deliveries, or because they cannot be read. They are kept. */
  readonly deadLettered: number;
  /** Lost on the way before they could be taken, as far as what it reads from tells: trimmed from a stream, for example. Absent where that cannot happen. */
  readonly dropped?: number;
  /** Reports that wait to be taken: entries of a stream, rows of a table, requests under way. Undefined while unknown. */
  readonly depth: number | undefined;
  /** Age of the oldest report that waits.     Units: ms. Undefined while unknown. */
  readonly lagMs: number | undefined;
};

/** A way in besides the stream: brings reports from somewhere to the one front door, and tells where it got them what became of each. */
export type Transport = {
  /** Begins to take. Whatever fails afterwards becomes `state: "down"`, and is tried again by itself. */
  readonly start: () => void;
  readonly figures: () => TransportFigures;
  /** Takes nothing new; resolves when what was taken is settled and said so, within `graceMs`. Idempotent. */
  readonly drain: (graceMs: number) => Promise<void>;
};
