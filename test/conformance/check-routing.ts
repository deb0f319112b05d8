import { ApplyStatus, RoutingRejection } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import type { Finding, RunFacts } from "./facts.js";
import { type AppliedName, seenOf } from "./record.js";

const rejections = {
  content: RoutingRejection.CONTENT,
  out_of_sync: RoutingRejection.OUT_OF_SYNC,
  stale_epoch: RoutingRejection.STALE_EPOCH,
} as const;

/** Tables that can be applied are, whole and deltas, and the ack names what is in force; the coordinator saw it too. */
export function checkApplied(facts: RunFacts): Finding {
  const { occasions, faults } = checkAcks(facts, "applied");
  const { appliedAtCoordinator } = facts;
  const isKnown = appliedAtCoordinator !== undefined && appliedAtCoordinator.status === "applied" && appliedAtCoordinator.version > 0;
  return {
    occasions,
    faults: isKnown ? faults : [...faults, "the coordinator's GetRoutes does not show a table that the client has applied"],
  };
}

/** Tables that cannot be applied are REJECTED with what is wrong, and the one before stays in force. */
export function checkRejected(facts: RunFacts): Finding {
  return checkAcks(facts, "rejected");
}

function checkAcks({ seen }: RunFacts, wanted: "applied" | "rejected"): Finding {
  const faults: string[] = [];
  let occasions = 0;
  for (const { stream, update, expected, atMs } of seenOf(seen, "table")) {
    if (expected.status !== wanted) continue;
    const answers = seenOf(seen, "routing_ack").filter((one) => one.stream === stream && one.atMs > atMs && one.ack.nonce === update.nonce);
    const ack = answers.find((one) => one.ack.status !== ApplyStatus.RECEIVED)?.ack;
    if (ack === undefined) {
      const isCut = seen.some((one) => one.kind === "ended" && one.stream === stream && one.atMs - atMs < 1_000);
      if (!isCut) faults.push(`table ${update.nonce} was not acked`);
      continue;
    }
    occasions += 1;
    const name = `table ${update.nonce} (version ${update.version})`;
    if (expected.status === "applied") {
      if (ack.status !== ApplyStatus.APPLIED) faults.push(`${name}: ${ApplyStatus[ack.status]} instead of APPLIED`);
    } else if (ack.status !== ApplyStatus.REJECTED) faults.push(`${name}: ${ApplyStatus[ack.status]} instead of REJECTED`);
    else if (expected.status === "rejected") {
      const given = ack.rejection === RoutingRejection.UNSPECIFIED ? RoutingRejection.CONTENT : ack.rejection;
      if (given !== rejections[expected.rejection])
        faults.push(`${name}: rejected as ${RoutingRejection[ack.rejection]}, not as ${expected.rejection}`);
      if (expected.rejection === "content" && !ack.rejected.some(({ reason }) => reason !== ""))
        faults.push(`${name}: rejected without a reason`);
    }
    if (!isNamed(ack.applied, expected.inForce)) faults.push(`${name}: the ack names another table as in force than it should`);
  }
  return { occasions, faults };
}

function isNamed(said: AppliedName | undefined, expected: AppliedName | undefined): boolean {
  if (expected === undefined) return said === undefined || said.version === 0n;
  return said !== undefined && said.term === expected.term && said.version === expected.version && said.digest === expected.digest;
}
