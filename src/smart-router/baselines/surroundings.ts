import type { Rng } from "../../platform/rng.js";

/** What a probe of an MCP tells. */
export type ProbeReading = {
  readonly mcpId: string;
  /** Requests that it has right now, from everyone. */
  readonly inFlight: number;
  /** What it expects of the latency at that number; undefined when it has served nothing yet. Unit: ms. */
  readonly latencyMs: number | undefined;
};

/**
 * Asks an MCP how it is. `answered` is called once, some time later, or never; it must not throw. In a simulation the answer comes from the server after a
 * delay; a coordinator answers from what it knows of the MCP.
 */
export type Probe = (mcpId: string, nowMs: number, answered: (reading: ProbeReading, atMs: number) => void) => void;

/** What a strategy may use besides what it is told. */
export type Surroundings = {
  /** Randomness for what is not a choice, such as whom to probe. */
  readonly rng: Rng;
  readonly probe: Probe;
  /** Others that choose among the same MCPs, this one included. */
  readonly clientCount: number;
};
