import { type DecisionView, listDecisions } from "../client/decisions.js";
import { evaluateLog, type LogEvaluation, type PolicyEvaluation } from "../smart-router/evaluate/evaluate-log.js";
import { shadowsOf } from "../smart-router/evaluate/evaluated-policies.js";
import type { EvaluatedPolicy } from "../smart-router/evaluate/logged-decision.js";
import { policyFactories } from "../smart-router/policies.js";
import type { HealthState } from "../smart-router/policy.js";
import type { ReplayedRow } from "../smart-router/replay/policy-replay.js";
import { loggedDecisionOf, type ReplayReport, replayLog } from "../smart-router/replay/replayed-log.js";
import type { TargetSignals } from "../smart-router/signal-book.js";
import { askCoordinator, askDeadlineMs, table, timeOf, wholeNumber } from "./ask.js";
import type { EndpointOptions } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";

export type DecisionReplayOptions = TalkOptions &
  EndpointOptions & {
    readonly policy: string;
    readonly from: string;
    readonly to?: string;
    readonly without?: readonly string[];
    readonly maxConcurrent?: string;
  };

/** Decisions of one replay: some gigabyte of memory when all of them keep fifty candidates. */
const rowsMax = 200_000;

/**
 * `replay --policy`: runs the logged decisions of a time range again. Those of the policy itself must come out bit for bit; for others it tells what the policy would have
 * chosen and, from logged probabilities, what that would have been worth.
 */
export async function replayDecisions(context: CliContext, options: DecisionReplayOptions, nowMs: number): Promise<void> {
  const output = createOutput(context, options);
  if (!policyFactories.has(options.policy)) {
    throw new CliFailure("usage", `no policy "${options.policy}"; there are ${[...policyFactories.keys()].sort().join(", ")}`);
  }
  const range = {
    startMs: timeOf("--from", options.from, nowMs),
    endMs: options.to === undefined ? nowMs : timeOf("--to", options.to, nowMs),
  };
  const whatIf = {
    without: new Set(options.without ?? []),
    maxConcurrent: options.maxConcurrent === undefined ? undefined : wholeNumber("--max-concurrent", options.maxConcurrent, 1, 1_000_000),
  };
  const rows = await readRows(context, options, range);
  const report = replayLog(rows, options.policy, policyFactories.get(options.policy), whatIf);
  const { shares, ...figures } = report;
  const isOther = report.asked > 0;
  const logged = rows.map(loggedDecisionOf);
  const policies = [...(isOther ? [evaluatedPolicy(options.policy, shares)] : []), ...shadowsOf(logged)];
  const evaluation = policies.length > 0 ? evaluateLog(logged, policies, { nowMs }) : undefined;
  if (output.isJson) {
    output.json({ policyId: options.policy, ...figures, ...(evaluation === undefined ? {} : { evaluation: plain(evaluation) }) });
  } else {
    print(output, options.policy, report);
    if (evaluation !== undefined) printEvaluation(output, evaluation);
  }
  const { firstDifference } = report;
  if (firstDifference !== undefined) {
    throw new CliFailure("failed", `decision ${firstDifference.decisionId} came out differently: ${firstDifference.difference}`);
  }
  if (report.recomputed + report.asked === 0) throw new CliFailure("undecided", "no decision in this range could be run again");
}

async function readRows(
  context: CliContext,
  options: DecisionReplayOptions,
  range: { readonly startMs: number; readonly endMs: number },
): Promise<readonly ReplayedRow[]> {
  const rows: ReplayedRow[] = [];
  await askCoordinator(context, options, async (connection) => {
    for await (const decision of listDecisions(connection, range, askDeadlineMs)) {
      if (rows.length >= rowsMax) throw new CliFailure("usage", `more than ${rowsMax} decisions; narrow --from and --to`);
      rows.push(rowOf(decision));
    }
  });
  return rows;
}

/** The words for states and sources of latencies are the coordinator's own: the rule compares them with those that it knows, and a newer one is none of them. */
function rowOf({ outcome, candidates, ...decision }: DecisionView): ReplayedRow {
  return {
    record: {
      ...decision,
      candidates: candidates?.map((candidate) => ({
        ...candidate,
        state: candidate.state as HealthState,
        signals: candidate.signals as TargetSignals | undefined,
      })),
    },
    outcome: { decisionId: decision.decisionId, mcpId: decision.chosen, ...outcome },
  };
}

function evaluatedPolicy(id: string, shares: ReplayReport["shares"]): EvaluatedPolicy {
  return { id, shares: ({ decisionId }) => shares.get(decisionId) };
}

function plain({ waitMs, ...evaluation }: LogEvaluation): unknown {
  return { ...evaluation, waitMs: Object.fromEntries(waitMs) };
}

const reasons: Readonly<Record<keyof ReplayReport["skipped"], string>> = {
  no_candidates: "their candidates were not kept",
  other_settings: "the policy had other parameters then",
  not_a_rule: "the policy is no function of what is logged",
  probe: "they were probes of an ejected MCP, which no policy decides",
  nobody_left: "nobody is left to choose",
};

function print(output: Output, policyId: string, report: ReplayReport): void {
  const { rows, recomputed, identical, asked, agreed, skipped, choices } = report;
  output.data(`decisions  ${rows}`);
  if (recomputed > 0) {
    const verdict =
      identical === recomputed ? output.paint("green", "bit for bit the same") : output.paint("red", `${recomputed - identical} differ`);
    output.data(`recomputed ${recomputed} of ${policyId}: ${verdict}`);
  }
  if (asked > 0) output.data(`asked      ${asked}: the same MCP in ${agreed} (${((100 * agreed) / asked).toFixed(1)}%)`);
  for (const because of Object.keys(reasons) as (keyof typeof reasons)[]) {
    const count = skipped[because] ?? 0;
    if (count > 0) output.data(`left out   ${count}: ${reasons[because]}`);
  }
  if (choices.length === 0) return;
  const lines = choices.map(({ mcpId, logged, replayed }) => [mcpId, String(logged), String(replayed)]);
  for (const line of table([["mcp", "logged", "replayed"], ...lines])) output.data(line);
}

function printEvaluation(output: Output, { counts, policies }: LogEvaluation): void {
  const { usable, early, censored, ineligible, bare, invalid } = counts;
  output.data("");
  output.data(
    `evidence   ${usable} decisions; left out: ${early} too young, ${censored} censored, ${ineligible} certain, ${bare} bare, ${invalid} invalid`,
  );
  for (const policy of policies) {
    const lines = [policy.quality, policy.error, policy.cost].flatMap(({ reward, estimates }) => {
      if (estimates === undefined) return [[reward, "-", "-", "-", "-", "-"]];
      const { logged, ips, snips, dr, ess } = estimates;
      const interval = `${dr.value.toFixed(4)} [${dr.low.toFixed(4)}, ${dr.high.toFixed(4)}]`;
      return [[reward, logged.value.toFixed(4), ips.value.toFixed(4), snips?.value.toFixed(4) ?? "-", interval, ess.toFixed(0)]];
    });
    for (const line of table([["reward", "logged", "IPS", "SNIPS", "DR [95 %]", "ESS"], ...lines])) output.data(line);
    output.data(`audited    ${auditedText(policy.quality)}`);
    output.data(`coverage   ${policy.coverage.toFixed(4)}`);
    printGate(output, policy);
  }
}

function auditedText({ auditedShare }: PolicyEvaluation["quality"]): string {
  if (auditedShare === undefined) return "no answer was rated";
  const percent = (100 * auditedShare).toFixed(1);
  return `${percent} % of the rated answers count with the quality of an audit${auditedShare < 1 ? "; the others with what their MCPs say of themselves" : ""}`;
}

function printGate(output: Output, { gate }: PolicyEvaluation): void {
  if (gate.promote) output.data(`gate       ${output.paint("green", "may be promoted")}; latency was not evaluated`);
  for (const reason of gate.reasons) output.data(`gate       ${output.paint("yellow", "not yet")}: ${reason}`);
}
