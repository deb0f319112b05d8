import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RoutingStatsSchema } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import type { ConfigInForce } from "../smart-router/control/config-book.js";
import type { DecisionLogFigures } from "../smart-router/log/decision-log.js";
import type { Agreement } from "../smart-router/log/shadow-tally.js";
import type { RouterFigures } from "../smart-router/router.js";

/** What this process has decided since it started, from where it is counted. */
export type RoutingFigures = {
  readonly router: RouterFigures;
  /** Start events that confirmed nothing: about another MCP's decision, or about one that is not known here. */
  readonly starts: { readonly foreign: number; readonly unknown: number };
  readonly log: DecisionLogFigures;
  readonly config: ConfigInForce;
  readonly agreements: readonly Agreement[];
};

export function routingStats({ router, starts, log, config, agreements }: RoutingFigures): MessageInitShape<typeof RoutingStatsSchema> {
  return {
    decisions: BigInt(router.decisions),
    explorations: BigInt(router.explorations),
    refusedUnavailable: BigInt(router.refusedUnavailable),
    refusedBusy: BigInt(router.refusedBusy),
    released: BigInt(router.released),
    expired: BigInt(router.expired),
    foreignStarts: BigInt(starts.foreign),
    unknownStarts: BigInt(starts.unknown),
    logWaiting: log.waiting,
    logStored: BigInt(log.stored),
    logThinned: BigInt(log.thinned),
    logLost: BigInt(log.lost),
    outcomesLost: BigInt(log.outcomesLost),
    configVersion: BigInt(Math.max(0, config.version)),
    policyId: config.policyId,
    shadows: agreements.map(({ policyId, decisions, agreed }) => ({ policyId, decisions: BigInt(decisions), agreed: BigInt(agreed) })),
  };
}
