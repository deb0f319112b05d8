import type { Rng } from "../platform/rng.js";
import type { Surroundings } from "../smart-router/baselines/surroundings.js";
import type { Ended, Policy, Target } from "../smart-router/policy.js";
import type { RouteRequest } from "../smart-router/request.js";
import type { Arrival } from "./arrivals.js";
import type { SimulatedServer } from "./server.js";

/** How a request ended, as the coordinator learns it. */
export type EndReport = {
  readonly result: Ended["result"];
  /** Only whoever waited for the answer noticed the end, by giving up: the server hangs and says nothing. */
  readonly isSilent: boolean;
  readonly durationMs: number | undefined;
  readonly quality: number | undefined;
  readonly auditedQuality: number | undefined;
  readonly cost: number | undefined;
};

/** Where a request was sent. `token` is given back with its end. */
export type Dispatched = { readonly mcpId: string; readonly token: string };

/** Whoever routes: one coordinator with knowledge of its own. Times are simulated ms. */
export type Dispatcher = {
  /** The stream of an MCP opened or ended. */
  readonly joined: (mcpId: string, capacity: number, nowMs: number) => void;
  readonly left: (mcpId: string, nowMs: number) => void;
  /** Where to send a request; undefined when it is refused. `arrival` is for the oracle alone: nobody else may look at the work of a request. */
  readonly dispatch: (request: RouteRequest, nowMs: number, arrival: Arrival) => Dispatched | undefined;
  readonly ended: (token: string, report: EndReport, nowMs: number) => void;
  /** A simulated second has passed. */
  readonly tick: (nowMs: number) => void;
  /** Requests that it still takes for being in flight. */
  readonly inFlight: () => number;
  /** Figures of its own, such as decisions made in a panic; by name. */
  readonly figures: () => Readonly<Record<string, number>>;
};

/** What a dispatcher is built with. `servers` is for the oracle alone. */
export type DispatcherSurroundings = Surroundings & {
  /** Randomness of choices. */
  readonly choices: Rng;
  readonly coordinator: number;
  readonly servers: ReadonlyMap<string, SimulatedServer>;
};

/** Somebody who takes part in an evaluation; a new dispatcher for each coordinator of each run. */
export type Contender = {
  readonly id: string;
  readonly create: (surroundings: DispatcherSurroundings) => Dispatcher;
  /** Those of one run together, for coordinators that know each other. */
  readonly createAll?: (all: readonly DispatcherSurroundings[]) => readonly Dispatcher[];
};

/** Builds a policy for a run. */
export type PolicyFactory = (surroundings: Surroundings) => Policy;

type Open = { readonly mcpId: string; readonly request: RouteRequest; readonly atMs: number; readonly inFlightBefore: number };
type Writable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * A policy with nothing around it: it chooses among all MCPs with a stream, whatever the number in flight, as balancers do that know of no capacity. Its
 * requests in flight are those that it has sent itself; it stands where the answers come through, so it sees a request given up at once.
 */
export function policyContender(id: string, create: PolicyFactory): Contender {
  return {
    id,
    create: (surroundings) => {
      const policy = create(surroundings);
      const targets: Writable<Target>[] = [];
      const byId = new Map<string, Writable<Target>>();
      const open = new Map<string, Open>();
      let decisions = 0;
      const known = (mcpId: string): Writable<Target> => {
        const target = byId.get(mcpId) ?? { mcpId, state: "healthy", inFlight: 0, capacity: 1, slowStart: 1, weight: 100 };
        byId.set(mcpId, target);
        return target;
      };
      return {
        joined: (mcpId, capacity) => {
          const target = known(mcpId);
          target.capacity = capacity;
          const at = targets.findIndex((other) => other.mcpId >= mcpId);
          targets.splice(at < 0 ? targets.length : at, 0, target);
        },
        left: (mcpId) => {
          const at = targets.findIndex((target) => target.mcpId === mcpId);
          if (at >= 0) targets.splice(at, 1);
        },
        dispatch: (request, atMs) => {
          if (targets.length === 0) return undefined;
          const { mcpId, isExploration } = policy.choose(request, targets, atMs, surroundings.choices);
          const target = known(mcpId);
          const token = String(decisions++);
          const inFlightBefore = target.inFlight++;
          open.set(token, { mcpId, request, atMs, inFlightBefore });
          policy.assigned({ decisionId: token, mcpId, request, atMs, inFlightBefore, isExploration });
          return { mcpId, token };
        },
        ended: (token, report, endedAtMs) => {
          const was = open.get(token);
          if (was === undefined) return;
          open.delete(token);
          known(was.mcpId).inFlight--;
          const { mcpId, request, atMs: startedAtMs, inFlightBefore } = was;
          const { isSilent: _, ...told } = report;
          policy.ended({ decisionId: token, mcpId, request, startedAtMs, endedAtMs, inFlightBefore, ...told });
        },
        tick: (nowMs) => policy.tick(nowMs),
        inFlight: () => open.size,
        figures: () => ({}),
      };
    },
  };
}
