import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleepFor } from "node:timers/promises";
import type { Command } from "commander";
import type { LedgerFile } from "../client/ledger-file.js";
import type { Config } from "../config/schema.js";
import { coordinatorVersion } from "../config/version.js";
import { systemClock } from "../platform/clock.js";
import { hostPort } from "../platform/host-port.js";
import { createLog } from "../platform/log.js";
import { systemRng } from "../platform/rng.js";
import { createDemoView, type DemoTitle } from "./demo-view.js";
import { parseDuration, roundedMs, secondsOf } from "./duration.js";
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

/** What was asked from outside: by the first signal to end in good order, by the second to end at once. */
type Asked = { readonly toStop: AbortSignal; readonly toLeave: AbortSignal };

async function demo(context: CliContext, deps: ServeDeps, options: ParsedOptions): Promise<void> {
  const output = createOutput(context, options);
  const forMs = typeof options.for === "string" ? parseDuration("--for", options.for) : Number.POSITIVE_INFINITY;
  using ledger = ledgerAt(typeof options.ledger === "string" ? options.ledger : undefined);
  const [stop, leave] = [new AbortController(), new AbortController()];
  // From before there is anything to remove.
  const stopListening = context.onSignal(() => (stop.signal.aborted ? leave : stop).abort());
  const asked = { toStop: stop.signal, toLeave: leave.signal };
  const ownDir = options.dataDir === undefined ? mkdtempSync(join(tmpdir(), "mcp-coordinator-demo-")) : undefined;
  try {
    const config = requireConfig(context, output, ownDir === undefined ? options : { ...options, dataDir: ownDir });
    if (config.auth.keys.length > 0) throw new CliFailure("usage", "the demo's MCPs have no keys: start it without [[auth.keys]]");
    const coordinator = await start(output, deps, config, asked);
    const { host } = config.server;
    const web = config.extensions.web ? `http://${hostPort(host, coordinator.webPort)}` : undefined;
    const title = { grpc: hostPort(host, coordinator.grpcPort), web, storePromise: coordinator.storePromise };
    const fleet = await run(context, output, coordinator, title, forMs, ledger, asked);
    summarize(output, fleet);
  } finally {
    // Tried again: whoever leaves at once leaves a store that may still be writing.
    if (ownDir !== undefined) rmSync(ownDir, { recursive: true, force: true, maxRetries: 3 });
    stopListening();
  }
}

/** Errors: CliFailure `interrupted` when asked to end before it is up: then as soon as it is, or at once. */
async function start(output: Output, deps: ServeDeps, config: Config, asked: Asked): Promise<Running> {
  // Only errors: the view is on the same terminal.
  const log = createLog("error", { coordinator_id: config.server.coordinatorId, version: coordinatorVersion });
  output.talk("starting a coordinator (the first start of the embedded store takes a few seconds)");
  const sayWhen = () => output.talk("ending as soon as the coordinator has started; once more ends at once");
  asked.toStop.addEventListener("abort", sayWhen);
  const starting = deps.startCoordinator({ config, log });
  const leaving = new Promise<undefined>((resolve) => asked.toLeave.addEventListener("abort", () => resolve(undefined)));
  const coordinator = await Promise.race([starting, leaving]).catch((thrown: unknown) => {
    // Translates: an address that is taken names the flag that helps.
    throw explainStart(config, thrown);
  });
  asked.toStop.removeEventListener("abort", sayWhen);
  if (coordinator !== undefined && !asked.toStop.aborted) return coordinator;
  await coordinator?.closeNow();
  throw new CliFailure("interrupted", "interrupted while the coordinator was starting");
}

/** Plays the fleet until its time is over or somebody asks for the end, and gives it back with its figures. */
async function run(
  context: CliContext,
  output: Output,
  coordinator: Running,
  title: DemoTitle,
  forMs: number,
  ledger: LedgerFile | undefined,
  asked: Asked,
): Promise<SimulatedFleet> {
  const gone = new AbortController();
  const ended = AbortSignal.any([asked.toStop, gone.signal]);
  asked.toLeave.addEventListener("abort", () => void coordinator.closeNow());
  let failure: unknown;
  coordinator.closed.then(
    () => gone.abort(),
    (thrown: unknown) => {
      failure = thrown;
      gone.abort();
    },
  );
  const fleet = new SimulatedFleet({ clock: systemClock, rng: systemRng, ledger }, { target: title.grpc, key: undefined }, demoFleet);
  const view = createDemoView(context.stderr, output, title);
  try {
    for (let step = 0; !ended.aborted && fleet.elapsedMs < forMs; step++) {
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
  }
  if (failure !== undefined) throw failure;
  return fleet;
}

function summarize(output: Output, fleet: SimulatedFleet): void {
  const { totals, mcps, elapsedMs } = fleet.figures();
  const { latencies } = fleet;
  const ack = { p50Ms: roundedMs(latencies.quantile(0.5)), p99Ms: roundedMs(latencies.quantile(0.99)), maxMs: roundedMs(latencies.max()) };
  if (output.isJson) {
    output.json({
      seconds: secondsOf(elapsedMs),
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
