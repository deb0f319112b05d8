import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleepFor } from "node:timers/promises";
import type { Command } from "commander";
import type { LedgerFile } from "../client/ledger-file.js";
import { coordinatorVersion } from "../config/version.js";
import { systemClock } from "../platform/clock.js";
import { createLog } from "../platform/log.js";
import { systemRng } from "../platform/rng.js";
import { createDemoView } from "./demo-view.js";
import { CliFailure } from "./exit-code.js";
import { examples, remarks } from "./help.js";
import { ledgerAt } from "./ledger-flag.js";
import { type CliContext, createOutput, type Output } from "./output.js";
import { explainStart, type Running, type ServeDeps } from "./serve.js";
import { addSettingFlags, addTalkFlags, type ParsedOptions, requireConfig } from "./setting-flags.js";
import { SimulatedFleet } from "./simulated-fleet.js";
import { demoFleet } from "./simulated-mcp.js";

/** The simulation's step, and how many of them make one picture: 2 Hz. */
const stepMs = 20;
const stepsPerPicture = 25;
const durationPattern = /^(\d{1,9})(ms|s|m|h)$/;
const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `demo`: a coordinator with five simulated MCPs, live in the terminal. */
export function addDemoCommand(program: Command, context: CliContext, deps: ServeDeps): void {
  addTalkFlags(addSettingFlags(program.command("demo")))
    .description("run a coordinator with five simulated MCPs on real streams and watch the weights follow them")
    .option("--for <duration>", "end after this time, for example 60s or 2m, with a summary")
    .option("--ledger <file>", "append what is sent and acknowledged to this file, for the command verify")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator demo", "until Ctrl-C, in a temporary directory"],
        ["mcp-coordinator demo --for 60s --json", "one minute, then a summary in JSON"],
      ]),
    )
    .addHelpText(
      "after",
      remarks(
        "The store is embedded, in a temporary directory that is removed at the end, unless --data-dir or --database-url says otherwise.",
      ),
    )
    .action((options: ParsedOptions) => demo(context, deps, options));
}

async function demo(context: CliContext, deps: ServeDeps, options: ParsedOptions): Promise<void> {
  const output = createOutput(context, options);
  const forMs = typeof options.for === "string" ? parseDuration(options.for) : Number.POSITIVE_INFINITY;
  using ledger = ledgerAt(typeof options.ledger === "string" ? options.ledger : undefined);
  const ownDir = options.dataDir === undefined ? mkdtempSync(join(tmpdir(), "mcp-coordinator-demo-")) : undefined;
  try {
    const config = requireConfig(context, output, ownDir === undefined ? options : { ...options, dataDir: ownDir });
    if (config.auth.keys.length > 0) throw new CliFailure("usage", "the demo's MCPs have no keys: start it without [[auth.keys]]");
    // Only errors: the view is on the same terminal.
    const log = createLog("error", { coordinator_id: config.server.coordinatorId, version: coordinatorVersion });
    output.talk("starting a coordinator (the first start of the embedded store takes a few seconds)");
    const coordinator = await deps.startCoordinator({ config, log }).catch((thrown: unknown) => {
      // Translates: an address that is taken names the flag that helps.
      throw explainStart(config, thrown);
    });
    const web = config.extensions.web ? `http://${config.server.host}:${coordinator.webPort}` : undefined;
    await run(context, output, coordinator, `${config.server.host}:${coordinator.grpcPort}`, web, forMs, ledger);
  } finally {
    if (ownDir !== undefined) rmSync(ownDir, { recursive: true, force: true });
  }
}

async function run(
  context: CliContext,
  output: Output,
  coordinator: Running,
  grpc: string,
  web: string | undefined,
  forMs: number,
  ledger: LedgerFile | undefined,
): Promise<void> {
  const stop = new AbortController();
  let signals = 0;
  const stopListening = context.onSignal(() => {
    signals++;
    if (signals === 1) stop.abort();
    else void coordinator.closeNow();
  });
  let failure: unknown;
  coordinator.closed.then(
    () => stop.abort(),
    (thrown: unknown) => {
      failure = thrown;
      stop.abort();
    },
  );
  const fleet = new SimulatedFleet({ clock: systemClock, rng: systemRng, ledger }, { target: grpc, key: undefined }, demoFleet);
  const view = createDemoView(context.stderr, output, { grpc, web, storePromise: coordinator.storePromise });
  try {
    for (let step = 0; !stop.signal.aborted && fleet.elapsedMs < forMs; step++) {
      fleet.advance();
      if (step % stepsPerPicture === 0) {
        view.show(fleet.figures());
        fleet.mark();
      }
      await sleepFor(stepMs);
    }
    // Streams end before the coordinator does, so that every report is acknowledged.
    await fleet.close();
    view.show(fleet.figures());
  } finally {
    view.close();
    await coordinator.drain();
    stopListening();
  }
  if (failure !== undefined) throw failure;
  summarize(output, fleet);
}

function summarize(output: Output, fleet: SimulatedFleet): void {
  const { totals, mcps, elapsedMs } = fleet.figures();
  const ack = { p50Ms: fleet.latencies.quantile(0.5), p99Ms: fleet.latencies.quantile(0.99), maxMs: fleet.latencies.max() };
  if (output.isJson) {
    output.json({
      seconds: elapsedMs / 1000,
      ...totals,
      ack,
      weights: Object.fromEntries(mcps.map(({ mcpId, weight }) => [mcpId, weight ?? null])),
    });
  } else {
    output.data(
      `${totals.interactions} interactions, ${totals.reported} events reported, ${totals.stored} stored, ${totals.rejected} rejected, ${totals.unresolved} unresolved, ${totals.reconnects} reconnects`,
    );
    output.data(
      `ack p50 ${ack.p50Ms.toFixed(1)} ms, p99 ${ack.p99Ms.toFixed(1)} ms, max ${ack.maxMs.toFixed(1)} ms; ${totals.routeTables} routing tables`,
    );
  }
  if (totals.rejected > 0 || totals.unresolved > 0) throw new CliFailure("failed", "not every event was stored");
}

/** "90s" → 90000. */
export function parseDuration(text: string): number {
  const match = durationPattern.exec(text);
  const unit = durationUnits[match?.[2] ?? ""];
  if (match?.[1] === undefined || unit === undefined || Number(match[1]) === 0) {
    throw new CliFailure("usage", `--for must be a duration such as 500ms, 60s, 2m or 1h, not "${text}"`);
  }
  return Number(match[1]) * unit;
}
