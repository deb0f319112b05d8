import type { Command } from "commander";
import type { startCoordinator } from "../compose.js";
import { isLoopback } from "../config/load.js";
import type { Config } from "../config/schema.js";
import { coordinatorVersion } from "../config/version.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { hostPort } from "../platform/host-port.js";
import { createLog } from "../platform/log.js";
import { CliFailure, type ExitName, exitOf } from "./exit-code.js";
import { examples, remarks } from "./help.js";
import { type CliContext, createOutput, type Output } from "./output.js";
import { type ConfigFile, createReload, findConfigFile, type Reload } from "./reload.js";
import { addSettingFlags, addTalkFlags, type ParsedOptions, requireConfig } from "./setting-flags.js";

export type ServeDeps = { readonly startCoordinator: typeof startCoordinator; readonly clock: Clock };

/** What serve holds while it runs, cut to what it uses. */
export type Running = Awaited<ReturnType<typeof startCoordinator>>;

/** `serve`: a coordinator until it is told to stop. */
export function addServeCommand(program: Command, context: CliContext, deps: ServeDeps): void {
  addTalkFlags(addSettingFlags(program.command("serve")))
    .description("run a coordinator: gRPC, the web port, and the embedded store unless a database is given")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator serve", "embedded store in ./data, loopback only"],
        ["DATABASE_URL=postgres://db/mcp mcp-coordinator serve --config coordinator.toml", "with keys and a database"],
        ["mcp-coordinator serve --grpc-port 0 --web-port 0 --json", "free ports; prints them as one JSON line"],
      ]),
    )
    .addHelpText(
      "after",
      remarks(
        "SIGTERM or Ctrl-C drains: streams are told, acks are flushed, then exit 0. A second one closes at once: exit 0 after SIGTERM, 130 after Ctrl-C.\nA configuration file that changes is read again once it has stood still for two seconds, unless server.watch_config is off; SIGHUP reads it at once, unless stdout is a terminal. [[auth.keys]], heartbeat, age and batch size of [session], routing.weight_policy and [routing.objectives] change then, everything else at the next start. A faulty file changes nothing.\nThe log goes to stderr, one JSON object a line.",
      ),
    )
    .action(async (options: ParsedOptions) => {
      const output = createOutput(context, options);
      const file = findConfigFile(context, options);
      const config = requireConfig(context, output, options);
      const exit = await serve(context, deps, output, options, config, file);
      if (exit !== "ok")
        throw new CliFailure(
          exit,
          exit === "interrupted" ? "closed before everything was drained" : "the coordinator ended by itself; its log says why",
        );
    });
}

async function serve(
  context: CliContext,
  { startCoordinator, clock }: ServeDeps,
  output: Output,
  options: ParsedOptions,
  config: Config,
  file: ConfigFile | undefined,
): Promise<ExitName> {
  const log = createLog(config.logging.level, { coordinator_id: config.server.coordinatorId, version: coordinatorVersion });
  let reload: Reload | undefined;
  let isReloadDue = false;
  const reloadOrRemember = (): void => {
    if (reload === undefined) isReloadDue = true;
    else reload.now();
  };
  // On a terminal SIGHUP means that the terminal is gone, and ends the process as it always did. Anywhere else it must not end one that is still starting.
  const stopReloading = context.stdout.isTTY === true ? () => {} : context.onReload(reloadOrRemember);
  try {
    const coordinator = await startCoordinator({ config, log }).catch((thrown: unknown) => {
      // Translated: an address that is taken names the flag that helps.
      throw explainStart(config, thrown);
    });
    announce(output, config, coordinator);
    const { reconfigure } = coordinator;
    reload = createReload({ context, options, clock, log, reconfigure }, config.server.watchConfig ? file : undefined);
    if (isReloadDue) reload.now();
    return await supervise(coordinator, context.onSignal, (line) => output.talk(line));
  } finally {
    stopReloading();
    reload?.close();
  }
}

/** Waits for the end of a coordinator. The first signal drains it, a second one closes it at once; without any it should not end. */
export async function supervise(
  coordinator: Pick<Running, "drain" | "closeNow" | "closed">,
  onSignal: CliContext["onSignal"],
  talk: (line: string) => void,
): Promise<ExitName> {
  let signalCount = 0;
  let stopListening = (): void => undefined;
  const ended = new Promise<ExitName>((resolve, reject) => {
    stopListening = onSignal((signal) => {
      signalCount += 1;
      if (signalCount === 1) {
        talk(`${signal}: draining; once more closes at once`);
        coordinator.drain().then(() => {
          if (signalCount === 1) resolve("ok");
        }, reject);
      } else if (signalCount === 2) {
        talk(`${signal}: closing`);
        coordinator.closeNow().then(() => resolve(signal === "SIGINT" ? "interrupted" : "ok"), reject);
      }
    });
    coordinator.closed.then(() => {
      if (signalCount === 0) resolve("failed");
    }, reject);
  });
  try {
    return await ended;
  } finally {
    stopListening();
  }
}

function announce(output: Output, config: Config, coordinator: Running): void {
  const { host } = config.server;
  const grpc = hostPort(host, coordinator.grpcPort);
  const web = config.extensions.web ? `http://${hostPort(host, coordinator.webPort)}` : null;
  const hasKeys = config.auth.keys.length > 0;
  if (output.isJson) {
    output.json({ grpc, web, store: coordinator.storePromise, hasKeys });
    return;
  }
  const label = (name: string): string => output.paint("faint", name.padEnd(7));
  output.data(`${label("store")} ${coordinator.storePromise}`);
  output.data(`${label("grpc")} ${grpc}   (try: grpcurl -plaintext ${grpc} list)`);
  if (web !== null) output.data(`${label("web")} ${web}   (try: curl ${web}/health)`);
  if (!hasKeys) {
    const loopback = "no keys are configured: callers are not asked who they are, and only this machine can reach the ports";
    const open = output.paint("yellow", "no keys are configured and other machines can reach the ports: anyone may report for every MCP");
    output.data(`${label("access")} ${isLoopback(config.server.host) ? loopback : open}`);
  }
}

/** What went wrong at the start, with the exit code and the flag that helps. Anything that is not a refusal stays as it is. */
export function explainStart(config: Config, thrown: unknown): unknown {
  if (!(thrown instanceof CoordinatorError)) return thrown;
  const exit = exitOf(thrown);
  if (thrown.reason !== "ADDRESS_IN_USE" && thrown.reason !== "ADDRESS_UNUSABLE") return new CliFailure(exit, thrown.message, thrown);
  const isWeb = thrown.metadata.address?.endsWith(`:${config.server.webPort}`) === true && config.server.webPort !== config.server.grpcPort;
  return new CliFailure(exit, `${thrown.message} (${isWeb ? "--web-port" : "--grpc-port"}, --host)`, thrown);
}
