import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { systemClock } from "../platform/clock.js";
import { systemRng } from "../platform/rng.js";
import { secondsOf } from "./duration.js";
import { addEndpointFlags, type EndpointOptions, endpointOf } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples, remarks } from "./help.js";
import { sleepUnlessAborted } from "./interrupt.js";
import type { LedgerCheck } from "./ledger-check.js";
import { LedgerEvents, type LedgerSurvey } from "./ledger-events.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { createProgress } from "./progress.js";
import { addTalkFlags } from "./setting-flags.js";
import { checkLedger } from "./verify-run.js";

type VerifyOptions = TalkOptions & EndpointOptions & { readonly tempDir?: string };

/** `verify`: compares ledgers of clients with what a deployment has stored. */
export function addVerifyCommand(program: Command, context: CliContext): void {
  addTalkFlags(addEndpointFlags(program.command("verify")))
    .argument("<ledger...>", "files that clients wrote, of any size; all that reported for the same interactions, together")
    .description("compare ledgers of sent and acknowledged events with what is stored, event by event")
    .option("--temp-dir <dir>", "where a ledger that does not fit into memory is sorted; needs twice its size")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator verify ledger.jsonl", "exit 0: every acknowledged event is stored, once, as it was sent"],
        ["mcp-coordinator verify a.jsonl b.jsonl --target db:50051 --json", "ledgers of two clients, for scripts"],
      ]),
    )
    .addHelpText(
      "after",
      remarks(
        "Exit 0: nothing is wrong. 1: events are lost, unexpected, duplicated or differing. 2: a file is no ledger. 6: not everything could be checked, or there was nothing to check.\n" +
          "The format of a ledger and the meaning of each figure are in docs/verify.md; replay and demo write one with --ledger.",
      ),
    )
    .action((files: string[], options: VerifyOptions) => verify(context, files, options));
}

async function verify(context: CliContext, files: readonly string[], options: VerifyOptions): Promise<void> {
  const output = createOutput(context, options);
  const endpoint = endpointOf(context, options);
  const startedAtMs = systemClock.monotonicMs();
  const interrupt = new AbortController();
  const stopListening = context.onSignal(() => interrupt.abort());
  const bar = createProgress(context.stderr, "verify", systemClock.monotonicMs);
  const dir = makeTempDir(options.tempDir);
  try {
    const events = new LedgerEvents(dir);
    for (const file of files) await readOrExplain(events, file, interrupt.signal, (lines) => bar.update(0, 1, `reading: ${lines} lines`));
    refuseFaults(events.survey);
    await events.join(interrupt.signal);
    const { survey } = events;
    const check = await checkLedger(
      { rng: systemRng, sleep: sleepUnlessAborted },
      endpoint,
      interrupt.signal.aborted ? [] : events.sorted(),
      interrupt.signal,
      (done) => bar.update(done, survey.events, `${done} of ${survey.events} events`),
    );
    bar.clear();
    if (interrupt.signal.aborted) throw new CliFailure("interrupted", "interrupted before everything was checked");
    print(output, files, survey, check, secondsOf(systemClock.monotonicMs() - startedAtMs));
    judge(survey, check);
  } finally {
    bar.clear();
    stopListening();
    rmSync(dir, { recursive: true, force: true });
  }
}

function makeTempDir(parent: string | undefined): string {
  try {
    return mkdtempSync(join(parent ?? tmpdir(), "mcpc-verify-"));
  } catch (thrown) {
    // Translates: a directory that cannot be used is a wrong command line.
    throw new CliFailure("usage", `--temp-dir ${parent ?? tmpdir()} cannot be written`, thrown);
  }
}

async function readOrExplain(events: LedgerEvents, file: string, signal: AbortSignal, seen: (lines: number) => void): Promise<void> {
  try {
    await events.read(file, signal, seen);
  } catch (thrown) {
    // Translates: the file system's words into ours.
    throw new CliFailure("usage", `${file} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
}

function refuseFaults({ faultCount, faults }: LedgerSurvey): void {
  if (faultCount === 0) return;
  const lines = faultCount > faults.length ? [...faults, `and ${faultCount - faults.length} more`] : faults;
  throw new CliFailure("usage", [`${faultCount} bad lines in the ledger; nothing was checked`, ...lines].join("\n  "));
}

function print(output: Output, files: readonly string[], survey: LedgerSurvey, check: LedgerCheck, seconds: number): void {
  const { counts, findings, hasTallies } = check;
  const { indeterminateStored, indeterminateAbsent, ...rest } = counts;
  if (output.isJson) {
    const { lines, tornLines, events, acksWithoutEvent } = survey;
    const indeterminate = { total: indeterminateStored + indeterminateAbsent, stored: indeterminateStored, absent: indeterminateAbsent };
    output.json({
      files,
      lines,
      tornLines,
      events,
      acksWithoutEvent,
      ...rest,
      indeterminate,
      countsInteractions: hasTallies,
      seconds,
      findings,
    });
    return;
  }
  const good = (value: number) => (value > 0 ? output.paint("green", String(value)) : String(value));
  const bad = (value: number) => (value > 0 ? output.paint("red", String(value)) : String(value));
  const unsure = (value: number) => (value > 0 ? output.paint("yellow", String(value)) : String(value));
  const rows: readonly (readonly [string, string])[] = [
    ["events", `${survey.events} in ${counts.interactions} interactions, ${seconds.toFixed(1)} s`],
    ["ok", `${good(counts.ok)} acknowledged, stored as sent`],
    ["lost", `${bad(counts.lost)} acknowledged, not stored`],
    ["differing", `${bad(counts.differing)} stored with other content`],
    ["duplicated", `${hasTallies ? bad(counts.duplicated) : "?"} counted more often than stored`],
    ["unexpected", `${hasTallies ? bad(counts.unexpected) : "?"} stored, not expected`],
    [
      "indeterminate",
      `${unsure(indeterminateStored + indeterminateAbsent)} not acknowledged: ${indeterminateStored} stored, ${indeterminateAbsent} not`,
    ],
    ["refused", `${counts.refused} refused, not stored`],
    ["undecided", `${unsure(counts.undecided + survey.acksWithoutEvent)} could not be checked`],
  ];
  for (const [name, text] of rows) output.data(`${name.padEnd(14)} ${text}`);
  for (const { kind, mcpId, interactionId, eventId, where, message } of findings) {
    const subject = eventId === "" ? `interaction ${interactionId} of ${mcpId}` : `${where} event ${eventId} of ${mcpId}`;
    output.talk(`${kind}: ${subject} ${message}`);
  }
  if (survey.tornLines > 0) output.talk(`left out ${survey.tornLines} last line that was cut off while it was written`);
  if (survey.acksWithoutEvent > 0) output.talk(`undecided: ${survey.acksWithoutEvent} acknowledged events that no ledger says were sent`);
  if (!hasTallies)
    output.talk("undecided: the coordinator does not count the events of interactions; duplicated and unexpected are not known");
}

function judge(survey: LedgerSurvey, { counts, hasTallies }: LedgerCheck): void {
  if (counts.lost + counts.differing + counts.duplicated + counts.unexpected > 0) {
    throw new CliFailure("failed", "what is stored differs from the ledger");
  }
  if (survey.events + survey.acksWithoutEvent === 0)
    throw new CliFailure("undecided", "there is no event in the ledger: nothing was checked");
  if (counts.undecided + survey.acksWithoutEvent > 0 || !hasTallies) throw new CliFailure("undecided", "not everything could be checked");
}
