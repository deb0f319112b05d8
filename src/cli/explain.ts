import type { Command } from "commander";
import { type CandidateView, type DecisionView, explainDecision } from "../client/decisions.js";
import { sumOfFactors } from "../smart-router/replay/recompute.js";
import { askCoordinator, askDeadlineMs, table } from "./ask.js";
import { addEndpointFlags, type EndpointOptions } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples, remarks } from "./help.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { addTalkFlags } from "./setting-flags.js";

/** `explain`: why a request went where it went. */
export function addExplainCommand(program: Command, context: CliContext): void {
  addTalkFlags(addEndpointFlags(program.command("explain")))
    .argument("<decision_id>", "as SelectMcp gave it")
    .description("say why a request was sent where it was: who was looked at, what each score is made of, and why not the others")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator explain 019b7a10-0000-7000-8000-000000000000", "who, why, with which probability, and how it ended"],
        ["mcp-coordinator explain 019b7a10-0000-7000-8000-000000000000 --json", "every number exactly"],
      ]),
    )
    .addHelpText(
      "after",
      remarks("Exit 1: the factors of a candidate do not sum to its score, bit for bit. 3: no such decision, or no longer."),
    )
    .action((decisionId: string, options: TalkOptions & EndpointOptions) => explain(context, decisionId, options));
}

async function explain(context: CliContext, decisionId: string, options: TalkOptions & EndpointOptions): Promise<void> {
  const output = createOutput(context, options);
  const decision = await askCoordinator(context, options, (connection) => explainDecision(connection, decisionId, askDeadlineMs));
  if (decision === undefined) throw new CliFailure("not_found", `${options.target}: no decision ${decisionId}`);
  const wrong = (decision.candidates ?? []).filter((one) => !Number.isNaN(one.score) && !Object.is(sumOfFactors(one), one.score));
  if (output.isJson) output.json({ ...decision, request: { ...decision.request, exclude: [...decision.request.exclude] } });
  else print(output, decision, wrong.length === 0);
  const [first] = wrong;
  if (first !== undefined) {
    throw new CliFailure("failed", `the factors of ${first.mcpId} sum to ${sumOfFactors(first)}, its score is ${first.score}`);
  }
}

function print(output: Output, decision: DecisionView, isExact: boolean): void {
  for (const [name, text] of headOf(decision)) output.data(`${name.padEnd(10)} ${text}`);
  const { candidates } = decision;
  if (candidates === undefined) {
    output.data("candidates not kept: the log keeps those of explorations, of one decision in ten, and of those that ask for it");
    return;
  }
  output.data("");
  for (const line of table([headings(candidates), ...candidates.map((one) => rowOf(one, decision, candidates))])) output.data(line);
  const chosen = candidates.find(({ mcpId }) => mcpId === decision.chosen);
  if (chosen === undefined || Number.isNaN(chosen.score)) return;
  output.data("");
  for (const line of table([
    ...chosen.factors.map(({ name, contribution }) => [name, String(contribution)]),
    ["score", String(chosen.score)],
  ])) {
    output.data(`  ${line}`);
  }
  if (isExact) output.data(`the factors of every candidate sum to its score, bit for bit`);
}

/** The latency that still was in time: what the caller asked for, else what is configured or usual for its class. */
function deadlineOf({ request, classSignals }: DecisionView): readonly string[] {
  if (request.deadlineMs !== undefined) return [`deadline ${request.deadlineMs} ms`];
  return classSignals === undefined ? [] : [`deadline ${classSignals.deadlineMs.toFixed(0)} ms, that of the class`];
}

function headOf(decision: DecisionView): readonly (readonly [string, string])[] {
  const { request, outcome, shadow } = decision;
  const asked = [
    `class ${decision.requestClass}`,
    ...deadlineOf(decision),
    ...(request.exclude.size === 0 ? [] : [`not ${[...request.exclude].join(", ")}`]),
  ];
  const ended = [
    outcome.state ?? "open",
    ...(outcome.censoredBecause === "" ? [] : [outcome.censoredBecause]),
    ...(outcome.isLate ? ["late"] : []),
    ...(outcome.errorCode === "" ? [] : [outcome.errorCode]),
    ...(outcome.observedMs === undefined ? [] : [`after ${outcome.observedMs.toFixed(1)} ms`]),
    ...(outcome.quality === undefined ? [] : [`quality ${outcome.quality}`]),
    ...(outcome.auditedQuality === undefined ? [] : [auditText(outcome.auditedQuality, outcome.auditor)]),
    ...(outcome.interactionId === "" ? [] : [`interaction ${outcome.interactionId}`]),
  ];
  const rule = `${decision.policyId} (${decision.policyHash}), ${decision.regime}${decision.isExploration ? ", to learn" : ""}, seed ${decision.seed}`;
  return [
    ["decision", `${decision.decisionId}  ${new Date(decision.decidedAtMs).toISOString()}  by ${decision.coordinatorId}`],
    ["request", asked.join(", ")],
    ["policy", rule],
    ["chosen", `${decision.chosen} with probability ${decision.propensity}`],
    ["outcome", ended.join(", ")],
    ...shadow.map(({ policyId, mcpId }): readonly [string, string] => ["shadow", `${policyId} would have chosen ${mcpId}`]),
  ];
}

function auditText(quality: number, auditor: string): string {
  return auditor === "" ? `audited ${quality}` : `audited ${quality} by ${auditor}`;
}

/** The names of the factors, from the first candidate that has any: all that are scored have the same. */
function factorNamesOf(candidates: readonly CandidateView[]): readonly string[] {
  return (candidates.find(({ factors }) => factors.length > 0)?.factors ?? []).map(({ name }) => name);
}

function headings(candidates: readonly CandidateView[]): readonly string[] {
  return ["", "mcp", "state", "load", ...factorNamesOf(candidates), "score", "p", "why not"];
}

function rowOf(candidate: CandidateView, decision: DecisionView, candidates: readonly CandidateView[]): readonly string[] {
  const isChosen = candidate.mcpId === decision.chosen;
  const byName = new Map(candidate.factors.map(({ name, contribution }) => [name, contribution]));
  return [
    isChosen ? "*" : "",
    candidate.mcpId,
    candidate.state,
    `${candidate.inFlight}/${candidate.capacity}`,
    ...factorNamesOf(candidates).map((name) => short(byName.get(name))),
    short(candidate.score),
    short(candidate.propensity),
    isChosen ? "" : (candidate.excludedBecause ?? "the draw fell on another"),
  ];
}

function short(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "-" : (value + 0).toFixed(4);
}
