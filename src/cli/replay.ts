import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { systemClock } from "../platform/clock.js";
import { seededRng, systemRng } from "../platform/rng.js";
import { collect } from "./ask.js";
import { parseDuration, roundedMs } from "./duration.js";
import { addEndpointFlags, type EndpointOptions, endpointOf } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { sleepUnlessAborted } from "./interrupt.js";
import { ledgerAt } from "./ledger-flag.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { createProgress } from "./progress.js";
import { type DecisionReplayOptions, replayDecisions } from "./replay-decisions.js";
import { type Played, type PlayProgress, type PlayTask, playTrace } from "./replay-play.js";
import { type Verification, verifyPlayed } from "./replay-verify.js";
import { addTalkFlags } from "./setting-flags.js";
import { surveyTrace, type TraceSurvey } from "./trace.js";

type ReplayOptions = TalkOptions &
  EndpointOptions & {
    readonly trace: string;
    readonly mcps: string;
    readonly speed: string;
    readonly mcpId?: string;
    readonly seed?: string;
    readonly limit?: string;
    readonly verify?: boolean;
    readonly ledger?: string;
    readonly skipBadLines?: boolean;
    readonly ackTimeout: string;
  };

/** What a replay came to, as `--json` prints it. Times in ms unless named otherwise. */
type ReplayReport = {
  readonly sent: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly unresolved: number;
  readonly ack: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly reconnects: number;
  readonly resent: number;
  readonly seconds: number;
  readonly refusals: readonly string[];
  readonly verification: Verification | undefined;
};

/** Streams of one replay: each is a socket here and some 60 KiB at the coordinator. */
const mcpsMax = 500;
const speedMax = 1_000_000;

/** `replay`: plays a request trace as interactions over real streams, and can prove afterwards that all of it is stored. */
export function addReplayCommand(program: Command, context: CliContext): void {
  addTalkFlags(addEndpointFlags(program.command("replay")))
    .description("play a request trace as interactions over real streams, or run logged decisions again under a policy")
    .option("--trace <file>", "CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens")
    .option("--mcps <count>", `streams, each an MCP of its own, 1 to ${mcpsMax}`, "5")
    .option("--speed <factor>", "how many times as fast as in the trace", "1")
    .option("--mcp-id <id>", "report everything for this MCP; needed with a key that is bound to one")
    .option("--seed <number>", "makes the same requests fail in each run")
    .option("--limit <rows>", "play only the first rows")
    .option("--skip-bad-lines", "play the rest of a trace that has bad lines")
    .option("--ack-timeout <duration>", "end with exit 5 when events wait and nothing is acknowledged for so long", "60s")
    .option("--verify", "afterwards compare every event and interaction with what is stored; exit 1 on any difference")
    .option("--ledger <file>", "append what is sent and acknowledged to this file, for the command verify")
    .option("--policy <id>", "run the logged decisions of a time range again: those of this policy must come out bit for bit")
    .option("--from <time>", "with --policy: begin of the range, a time or how long ago", "24h")
    .option("--to <time>", "with --policy: end of the range; now unless given")
    .option("--without <mcp>", "with --policy: as if this MCP were not there; may be given several times", collect)
    .option("--max-concurrent <count>", "with --policy: as if every MCP might have at most so many requests at once")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator replay --trace requests.csv --mcps 20 --speed 200 --verify", "an hour in 18 s, then proof"],
        [
          "mcp-coordinator replay --policy quality-tail-load/1 --from 1h",
          "exit 1 and the first difference unless it is the same bit for bit",
        ],
        ["mcp-coordinator replay --policy least-requests/1 --from 24h", "agreement, and what its choices would have been worth"],
        ["MCPC_KEY=… mcp-coordinator replay --trace requests.csv --mcp-id ocr --limit 100", "against a coordinator with keys"],
      ]),
    )
    .action((options: AnyReplayOptions) => eitherReplay(context, options));
}

/** What commander makes of the options: either kind. */
type AnyReplayOptions = Omit<ReplayOptions, "trace"> &
  Omit<DecisionReplayOptions, "policy"> & { readonly trace?: string; readonly policy?: string };

async function eitherReplay(context: CliContext, options: AnyReplayOptions): Promise<void> {
  const { trace, policy } = options;
  if (trace !== undefined && policy === undefined) return replay(context, { ...options, trace });
  if (policy !== undefined && trace === undefined) return replayDecisions(context, { ...options, policy }, systemClock.nowMs());
  throw new CliFailure("usage", "give either --trace <file> or --policy <id>");
}

async function replay(context: CliContext, options: ReplayOptions): Promise<void> {
  const output = createOutput(context, options);
  const task = taskOf(context, options);
  const survey = await surveyOrRefuse(task, options.skipBadLines === true, output);
  const interrupt = new AbortController();
  const stopListening = context.onSignal(() => interrupt.abort());
  const bar = createProgress(context.stderr, "replay", systemClock.monotonicMs);
  using ledger = ledgerAt(options.ledger);
  try {
    const deps = {
      ledger,
      clock: systemClock,
      rng: options.seed === undefined ? systemRng : seededRng(count("--seed", options.seed, 0, 2 ** 32 - 1)),
      sleep: sleepUnlessAborted,
    };
    const played = await playTrace(deps, task, interrupt.signal, (progress) => bar.update(progress.started, survey.rows, noteOf(progress)));
    bar.clear();
    if (played.isInterrupted) {
      print(output, reportOf(played, undefined));
      throw new CliFailure("interrupted", "interrupted before the trace was played");
    }
    const check = createProgress(context.stderr, "verify", systemClock.monotonicMs);
    const verification = task.keepsEvents
      ? await verifyPlayed(task.endpoint, played, interrupt.signal, (done, total) => check.update(done, total, ""))
      : undefined;
    check.clear();
    const report = reportOf(played, verification);
    print(output, report);
    judge(report);
  } finally {
    bar.clear();
    stopListening();
  }
}

function taskOf(context: CliContext, options: ReplayOptions): PlayTask {
  const speed = Number(options.speed);
  if (!(speed > 0 && speed <= speedMax)) throw new CliFailure("usage", `--speed must be a number above 0 and at most ${speedMax}`);
  return {
    tracePath: options.trace,
    limit: options.limit === undefined ? Number.POSITIVE_INFINITY : count("--limit", options.limit, 1, Number.MAX_SAFE_INTEGER),
    speed,
    mcpCount: count("--mcps", options.mcps, 1, mcpsMax),
    mcpId: options.mcpId,
    endpoint: endpointOf(context, options),
    keepsEvents: options.verify === true,
    ackMaxMs: parseDuration("--ack-timeout", options.ackTimeout),
  };
}

function count(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new CliFailure("usage", `${flag} must be a whole number from ${min} to ${max}`);
  return value;
}

async function surveyOrRefuse(task: PlayTask, mayBeFaulty: boolean, output: Output): Promise<TraceSurvey> {
  const survey = await readSurvey(task);
  const lines = survey.faults.map((fault) => `${task.tracePath}:${fault.line}: ${fault.reason}`);
  const more = survey.faultCount - survey.faults.length;
  if (more > 0) lines.push(`and ${more} more`);
  if (survey.faultCount > 0 && !mayBeFaulty) {
    throw new CliFailure(
      "failed",
      [`the trace has ${survey.faultCount} bad lines; nothing was sent (--skip-bad-lines plays the rest)`, ...lines].join("\n  "),
    );
  }
  if (survey.rows === 0) throw new CliFailure("failed", `${task.tracePath} has no requests`);
  if (survey.faultCount > 0) output.talk([`leaving out ${survey.faultCount} bad lines`, ...lines].join("\n  "));
  return survey;
}

async function readSurvey(task: PlayTask): Promise<TraceSurvey> {
  try {
    if (!(await stat(task.tracePath)).isFile()) throw new CliFailure("usage", `${task.tracePath} must be a file: it is read twice`);
    return await surveyTrace(task.tracePath, task.limit);
  } catch (thrown) {
    // Translates: the file system's words into ours.
    if (thrown instanceof CliFailure) throw thrown;
    throw new CliFailure("usage", `${task.tracePath} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
}

function noteOf({ counters, latencies }: PlayProgress): string {
  const acked = counters.stored + counters.duplicate + counters.notCollected + counters.rejected;
  const waits = counters.reconnects > 0 ? `, ${counters.reconnects} reconnects` : "";
  return `${acked}/${counters.reported} acked, p99 ${latencies.quantile(0.99).toFixed(1)} ms${waits}`;
}

function reportOf(played: Played, verification: Verification | undefined): ReplayReport {
  const { counters, latencies } = played;
  return {
    sent: counters.reported,
    stored: counters.stored,
    duplicate: counters.duplicate,
    rejected: counters.rejected,
    unresolved: played.unresolved,
    ack: {
      p50Ms: roundedMs(latencies.quantile(0.5)),
      p99Ms: roundedMs(latencies.quantile(0.99)),
      maxMs: roundedMs(latencies.max()),
    },
    reconnects: counters.reconnects,
    resent: Math.max(0, counters.sent - counters.reported),
    seconds: played.seconds,
    refusals: played.refusals,
    verification,
  };
}

function print(output: Output, report: ReplayReport): void {
  if (output.isJson) {
    output.json(report);
    return;
  }
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const rows: [string, string][] = [
    ["sent", String(report.sent)],
    ["stored", String(report.stored)],
    ["duplicate", String(report.duplicate)],
    ["rejected", String(report.rejected)],
    ["ack", `p50 ${ms(report.ack.p50Ms)}, p99 ${ms(report.ack.p99Ms)}, max ${ms(report.ack.maxMs)}`],
    ["reconnects", `${report.reconnects}${report.resent > 0 ? ` (${report.resent} events sent again)` : ""}`],
    ["time", `${report.seconds.toFixed(1)} s, ${Math.round(report.sent / Math.max(0.001, report.seconds))} events/s`],
  ];
  if (report.unresolved > 0) rows.splice(4, 0, ["unresolved", String(report.unresolved)]);
  const { verification } = report;
  if (verification !== undefined) {
    const { ok, lost, duplicated, differing, interactions } = verification;
    rows.push(["verified", `${ok} ok, ${lost} lost, ${duplicated} duplicated, ${differing} differing in ${interactions} interactions`]);
  }
  for (const [name, value] of rows) output.data(`${name.padEnd(11)} ${value}`);
  for (const refusal of report.refusals) output.talk(`rejected: ${refusal}`);
  for (const example of verification?.examples ?? []) output.talk(`difference: ${example}`);
}

function judge(report: ReplayReport): void {
  const { verification } = report;
  if (report.rejected > 0) throw new CliFailure("failed", `${report.rejected} events were rejected`);
  if (report.unresolved > 0) throw new CliFailure("failed", `${report.unresolved} events were never acknowledged`);
  if (verification !== undefined && verification.lost + verification.duplicated + verification.differing > 0) {
    throw new CliFailure("failed", "what is stored differs from what was sent");
  }
}
