import type { LookedUp } from "../../src/client/verify.js";
import type { Told } from "./material.js";
import type { StepFault } from "./play.js";
import type { Seen } from "./record.js";
import type { Terms } from "./scenario.js";

/** What is stored of a run, as the coordinator proves it. */
export type StoredFacts = {
  /** By event id. */
  readonly events: ReadonlyMap<string, LookedUp>;
  /** Interactions whose counts are not those of the scenario: "id: stored n, merged m, told k". */
  readonly tallyFaults: readonly string[];
};

/** Everything that a run left behind, for the checks. */
export type RunFacts = {
  readonly seen: readonly Seen[];
  readonly told: readonly Told[];
  readonly terms: Terms;
  /** The key that the client was given. */
  readonly key: string;
  readonly stored: StoredFacts;
  readonly ledger: {
    readonly sent: ReadonlySet<string>;
    readonly acked: ReadonlyMap<string, readonly string[]>;
    readonly faults: readonly string[];
  };
  /** Exit code or signal; "killed" when the kit had to. */
  readonly exit: number | string;
  readonly stepFault: StepFault | undefined;
  /** What the coordinator itself says of the client's table before the kit's own: undefined when it knows of none. */
  readonly appliedAtCoordinator: { readonly version: number; readonly status: string } | undefined;
};

/** Occasions on which a behaviour was to be seen, and what was wrong with it. No occasion is a failure too. */
export type Finding = { readonly occasions: number; readonly faults: readonly string[] };
