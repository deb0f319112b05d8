import { create } from "@bufbuild/protobuf";
import { type WeightPlane, WeightPlaneSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { WeightPlaneFigures } from "../hub/weight-plane.js";
import { durationFromMs } from "../wire/time.js";

/** How tables reach the streams of this coordinator. Times are absent before the first ack, the divergence when nothing was observed. */
export function weightPlaneToProto(figures: WeightPlaneFigures): WeightPlane {
  const { counts, appliedP50Ms, appliedP99Ms, observedDivergence } = figures;
  return create(WeightPlaneSchema, {
    streams: figures.streams,
    streamsOnNewest: figures.streamsOnNewest,
    versionLagMax: BigInt(figures.versionLagMax),
    ...(appliedP50Ms === undefined ? {} : { publishToAppliedP50: durationFromMs(appliedP50Ms) }),
    ...(appliedP99Ms === undefined ? {} : { publishToAppliedP99: durationFromMs(appliedP99Ms) }),
    updatesSent: BigInt(counts.sent),
    deltasSent: BigInt(counts.sent_delta),
    acksIgnored: BigInt(counts.ack_ignored),
    outOfSync: BigInt(counts.out_of_sync),
    staleEpoch: BigInt(counts.stale_epoch),
    expired: BigInt(counts.expired),
    withheld: BigInt(counts.withheld),
    rejected: figures.rejected.map(({ digest, subject, reason, subjectCount }) => ({
      digest: BigInt(`0x${digest}`),
      mcpId: subject,
      reason,
      mcps: subjectCount,
    })),
    observed: figures.observed.map(({ mcpId, requests, share }) => ({ mcpId, requests: BigInt(requests), share })),
    ...(observedDivergence === undefined ? {} : { observedDivergence }),
  });
}
