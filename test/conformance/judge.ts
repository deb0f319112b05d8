import { checkAcks, checkBatches, checkIdentity, checkLedger, checkRefusal, checkRetry, checkStored, checkWindow } from "./check-events.js";
import { checkApplied, checkRejected } from "./check-routing.js";
import { checkClose, checkDrain, checkHeartbeats, checkHello, checkHttp, checkJitter, checkResume } from "./check-session.js";
import type { Finding, RunFacts } from "./facts.js";

/** Every behaviour that is certified, with its check. docs/conformance.md says what each asks for. */
const checks = {
  hello: checkHello,
  batches: checkBatches,
  identity: checkIdentity,
  window_events: (facts) => checkWindow(facts, "events"),
  window_bytes: (facts) => checkWindow(facts, "bytes"),
  acks: checkAcks,
  retry: checkRetry,
  refusal: checkRefusal,
  resume: checkResume,
  reconnect: checkJitter,
  heartbeats: checkHeartbeats,
  drain: checkDrain,
  routes_applied: checkApplied,
  routes_rejected: checkRejected,
  http: checkHttp,
  close: checkClose,
  ledger: checkLedger,
  stored: checkStored,
} as const satisfies Record<string, (facts: RunFacts) => Finding>;

export type Behaviour = keyof typeof checks;
export const behaviours = Object.keys(checks) as readonly Behaviour[]; // the keys of `checks`

/** `not_offered`: the client's owner said that it does without. */
export type Judgement = {
  readonly behaviour: Behaviour;
  readonly verdict: "passed" | "failed" | "not_offered";
  /** How often there was something to judge. */
  readonly occasions: number;
  /** What was wrong, the first few. */
  readonly faults: readonly string[];
};

const faultsMax = 5;

/** Judges a run, each behaviour by itself. One that there was no occasion for has failed: it was not seen. */
export function judgeRun(facts: RunFacts, without: ReadonlySet<Behaviour>): readonly Judgement[] {
  return behaviours.map((behaviour): Judgement => {
    if (without.has(behaviour)) return { behaviour, verdict: "not_offered", occasions: 0, faults: [] };
    const { occasions, faults } = checks[behaviour](facts);
    const more = faults.length > faultsMax ? [`and ${faults.length - faultsMax} more`] : [];
    const shown = occasions === 0 && faults.length === 0 ? ["not seen"] : [...faults.slice(0, faultsMax), ...more];
    return { behaviour, verdict: shown.length === 0 ? "passed" : "failed", occasions, faults: shown };
  });
}
