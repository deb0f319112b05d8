import type { SpoolFigures } from "./spool/spool.js";
import type { TransportName } from "./transports/transport.js";
import type { Trouble } from "./troubles.js";
import type { WayState } from "./ways.js";

/**
 * Since the reporter was made. Every event that was reported is in exactly one of: stored, duplicate, notCollected, setAside, or still in the spool; or the spool has given it up, and its
 * figures and the troubles say so: progress dropped for room or age, events too old, events that neither the disk nor the memory took. What an earlier reporter left in the spool is resolved
 * here too, without having been reported here.
 */
export type ReporterCounters = {
  /** Taken: in the spool, or on its way to the disk. */
  readonly reported: number;
  /** Not taken: a field breaks a rule, or the options do. */
  readonly refused: number;
  /** Not taken: there was no room. */
  readonly full: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly notCollected: number;
  /** Refused by the coordinator for good, and kept. */
  readonly setAside: number;
  /** Times that an event had to wait because a coordinator asked for it, or could not be reached. */
  readonly deferred: number;
};

/** What a reporter is like now. Plain data, made anew each time. */
export type ReporterState = {
  /** `off`: switched off. `unusable`: the options are wrong, nothing is reported. */
  readonly kind: "off" | "unusable" | "open" | "closed";
  /** The transport in use; undefined before any was up. */
  readonly transport: TransportName | undefined;
  /** Why that one. */
  readonly reason: string;
  readonly transports: readonly WayState[];
  /** `memory`: events are gone with the process, by choice or because the disk takes none. `opening`: reports wait for it in memory. */
  readonly spool: SpoolFigures & { readonly kind: "opening" | "disk" | "memory" };
  readonly counters: ReporterCounters;
  /** The latest, oldest first. */
  readonly troubles: readonly Trouble[];
};
