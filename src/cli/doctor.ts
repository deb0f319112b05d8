import { createServer } from "node:net";
import type { Command } from "commander";
import { describeRemark } from "../config/place.js";
import { describeRest } from "../config/remarks.js";
import type { Config } from "../config/schema.js";
import type { Clock } from "../platform/clock.js";
import { hostPort } from "../platform/host-port.js";
import { checklists, describeChecklists } from "./checklist.js";
import {
  type Check,
  type DatabaseFinding,
  type DataDirFinding,
  judgeClock,
  judgeDatabase,
  judgeDataDir,
  judgeNode,
  judgePort,
  type PortFinding,
} from "./checks.js";
import { addTlsFlags, readKey, type TlsFlags, tlsOptionsOf } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { type CliContext, createOutput, type Output } from "./output.js";
import { examineReporter, type ReporterTarget } from "./reporter-checks.js";
import { addSettingFlags, addTalkFlags, loadFor, type ParsedOptions } from "./setting-flags.js";

export type DoctorDeps = {
  readonly clock: Clock;
  /** Rejects when the database cannot be reached. */
  readonly examineDatabase: (url: string) => Promise<Omit<Extract<DatabaseFinding, { kind: "reached" }>, "kind">>;
  readonly examineDataDir: (dataDir: string) => DataDirFinding | Promise<DataDirFinding>;
};

/** Longest watch over an idle stream: what cuts connections does so within the hour. */
const holdMaxSeconds = 3_600;
/** Longest wait for an answer on the web port. */
const answerMaxMs = 2_000;

/** Options of doctor that look from the side of an MCP. */
type ReporterFlags = TlsFlags & {
  readonly mcpConfig?: string;
  readonly coordinatorUrl?: string;
  readonly grpcTarget?: string;
  readonly mcpId?: string;
  readonly keyFile?: string;
  readonly hold?: string;
  readonly checklist?: boolean;
};

/** `doctor`: whether a coordinator could run here, and what to do when not. Changes nothing. */
export function addDoctorCommand(program: Command, context: CliContext, deps: DoctorDeps): void {
  addTalkFlags(addTlsFlags(addSettingFlags(program.command("doctor"))))
    .description("check configuration, store, ports and clock, each with the next step when it fails")
    .option("--coordinator-url <url>", "check the way from an MCP here to this coordinator instead: DNS, key, clock, gRPC")
    .option("--mcp-config <file>", "the same with the addresses and the key of an mcp_config.toml")
    .option("--grpc-target <host:port>", "its gRPC port, if it is not 50051 of the same host")
    .option(
      "--mcp-id <id>",
      "the MCP that the key is for; without it and a file the stream is one of an MCP named doctor, which is registered by that",
    )
    .option("--key-file <file>", "file with the MCP's API key; otherwise MCPC_KEY")
    .option("--hold <seconds>", "keep an idle stream open for so long, and tell whether something cuts it", "0")
    .option("--checklist", "print the check lists for integrating an MCP, and end")
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator doctor --config coordinator.toml", "exit 0 when all is well, 1 when a check fails"],
        ["mcp-coordinator doctor --coordinator-url http://mcp-coordinator:8080", "the way from an MCP on this machine"],
        ["mcp-coordinator doctor --coordinator-url https://mcp.example --ca-file ca.pem", "the same through a proxy with TLS"],
        ["mcp-coordinator doctor --json", "for scripts"],
      ]),
    )
    .action(async (options: ParsedOptions & ReporterFlags) => {
      const output = createOutput(context, options);
      if (options.checklist === true) {
        if (output.isJson) output.json({ checklists });
        else output.data(describeChecklists());
        return;
      }
      const isOfReporter = options.coordinatorUrl !== undefined || options.mcpConfig !== undefined;
      if (isOfReporter && Number(options.hold) > 0) output.talk(`checking; an idle stream stays open for ${options.hold} s`);
      const checks = isOfReporter
        ? await examineReporter(deps.clock, reporterTarget(context, options))
        : await examine(context, deps, options);
      const failedCount = checks.filter(({ kind }) => kind === "failed").length;
      if (output.isJson) output.json({ isHealthy: failedCount === 0, checks });
      else for (const check of checks) output.data(describeCheck(output, check));
      if (failedCount > 0) throw new CliFailure("failed", `${failedCount} of ${checks.length} checks failed`);
    });
}

function reporterTarget(context: CliContext, options: ReporterFlags): ReporterTarget {
  const holdSeconds = Number(options.hold ?? 0);
  if (!(holdSeconds >= 0 && holdSeconds <= holdMaxSeconds)) throw new CliFailure("usage", `--hold must be 0 to ${holdMaxSeconds} seconds`);
  const { mcpConfig, coordinatorUrl, grpcTarget, mcpId, keyFile } = options;
  const tls = tlsOptionsOf(options);
  return { mcpConfig, coordinatorUrl, grpcTarget, mcpId, tls, key: readKey(context, keyFile), holdMs: holdSeconds * 1_000 };
}

async function examine(context: CliContext, deps: DoctorDeps, options: ParsedOptions): Promise<readonly Check[]> {
  const machine = [judgeNode(process.versions.node), judgeClock(deps.clock.nowMs())];
  const loaded = loadFor(context, options);
  if (loaded.kind === "faulty") {
    const faults = loaded.faults.map(
      (fault): Check => ({ name: "configuration", kind: "failed", finding: describeRemark(fault), nextStep: "correct it there" }),
    );
    const more = describeRest({ kept: loaded.faults, count: loaded.faultCount }, "fault");
    const rest: readonly Check[] =
      more === undefined ? [] : [{ name: "configuration", kind: "failed", finding: more, nextStep: "correct those above first" }];
    const finding = "not looked at: the configuration is wrong";
    return [...machine, ...faults, ...rest, { name: "store", kind: "skipped", finding }, { name: "ports", kind: "skipped", finding }];
  }
  const warnings =
    loaded.warnings.length === 0 ? "" : `, with ${loaded.warnings.length} warnings: ${loaded.warnings.map(describeRemark).join("; ")}`;
  const configuration: Check = { name: "configuration", kind: "passed", finding: `valid${warnings}` };
  const isRunning = await isCoordinatorRunning(loaded.config);
  const [store, ports] = await Promise.all([examineStore(deps, loaded.config, isRunning), examinePorts(loaded.config, isRunning)]);
  return [...machine, configuration, ...store, ...ports];
}

async function examineStore(deps: DoctorDeps, config: Config, isRunning: boolean): Promise<readonly Check[]> {
  const { databaseUrl, dataDir } = config.store;
  if (databaseUrl === undefined) return [judgeDataDir(dataDir, await deps.examineDataDir(dataDir), isRunning)];
  try {
    return judgeDatabase({ kind: "reached", ...(await deps.examineDatabase(databaseUrl)) });
  } catch (thrown) {
    // Translated: that it cannot be reached is the finding. Drivers put the host into their messages, never the password.
    return judgeDatabase({ kind: "unreachable", why: thrown instanceof Error ? thrown.message : String(thrown) });
  }
}

async function examinePorts(config: Config, isRunning: boolean): Promise<readonly Check[]> {
  const { host, grpcPort, webPort } = config.server;
  const wanted = [
    { name: "grpc port", port: grpcPort, flag: "--grpc-port" },
    ...(config.extensions.web ? [{ name: "web port", port: webPort, flag: "--web-port" }] : []),
  ];
  return Promise.all(
    wanted.map(async ({ name, port, flag }): Promise<Check> => {
      if (port === 0) return { name, kind: "passed", finding: "any free port" };
      return judgePort(name, hostPort(host, port), flag, await tryPort(host, port, isRunning));
    }),
  );
}

/** Listens for a moment. */
function tryPort(host: string, port: number, isCoordinatorRunning: boolean): Promise<PortFinding> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.message;
      resolve(code === "EADDRINUSE" ? { kind: "taken", byCoordinator: isCoordinatorRunning } : { kind: "unusable", code });
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve({ kind: "free" })));
  });
}

/** Whether `/health` on the web port answers in the form that ours has, whatever it says. */
async function isCoordinatorRunning(config: Config): Promise<boolean> {
  if (!config.extensions.web || config.server.webPort === 0) return false;
  try {
    const url = `http://${hostPort(config.server.host, config.server.webPort)}/health`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(answerMaxMs), redirect: "error" });
    const body: unknown = await answer.json();
    return typeof body === "object" && body !== null && "status" in body && "checks" in body;
  } catch {
    // Failure becomes state: nobody answers, or somebody else does.
    return false;
  }
}

function describeCheck(output: Output, check: Check): string {
  const name = check.name.padEnd(15);
  switch (check.kind) {
    case "passed":
      return `${output.paint("green", "ok     ")} ${name} ${check.finding}`;
    case "skipped":
      return `${output.paint("faint", "skipped")} ${name} ${check.finding}`;
    default:
      return `${output.paint("red", "FAILED ")} ${name} ${check.finding}\n${" ".repeat(24)}next: ${check.nextStep}`;
  }
}
