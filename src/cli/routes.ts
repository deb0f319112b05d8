import { type Command, Option } from "commander";
import { type Connection, createConnection, type Endpoint } from "../client/connect.js";
import { type RoutesReport, readRoutes } from "../client/read-routes.js";
import { backoffMs } from "../platform/backoff.js";
import { systemRng } from "../platform/rng.js";
import { failureOf } from "./ask.js";
import { addEndpointFlags, type EndpointOptions, endpointOf } from "./endpoint.js";
import { CliFailure } from "./exit-code.js";
import { examples, remarks } from "./help.js";
import { sleepUnlessAborted } from "./interrupt.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { routesView } from "./routes-view.js";
import { addTalkFlags } from "./setting-flags.js";

type RoutesOptions = TalkOptions & EndpointOptions & { readonly watch?: boolean; readonly why?: boolean };

/** One call must not take longer than a person waits. */
const callMaxMs = 10_000;
const watchEveryMs = 1_000;
/** A person looks on: a coordinator that is back is seen within seconds, and a thousand who look do not hinder its start. */
const watchBackoff = { firstMs: 500, maxMs: 10_000 };
/** INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION, UNIMPLEMENTED, UNAUTHENTICATED: the same question gets the same answer. */
const lasting: ReadonlySet<number> = new Set([3, 5, 7, 9, 12, 16]);

/** `routes`: the weights in force, why they are what they are, and who has applied them. */
export function addRoutesCommand(program: Command, context: CliContext): void {
  addTalkFlags(addEndpointFlags(program.command("routes")))
    .description("show the routing weights in force, who has applied which version, and who refuses one and why")
    .option("--why", "also the factors of each weight")
    .addOption(new Option("--watch", "again every second, until interrupted; with --json one line each time"))
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator routes", "weights, observed shares, and producers that are behind or refuse"],
        ["mcp-coordinator routes --why", "with the factors of each weight"],
        ["mcp-coordinator routes --json | jq .producers", "for scripts"],
      ]),
    )
    .addHelpText(
      "after",
      remarks(
        "Exit 0: shown. 4: the key may not ask. 5: the coordinator cannot be asked; with --watch that is told on stderr and waited out, at the next address of --target where there are several. Producers are those that have acked any table, on all coordinators; figures of streams are of the coordinator that was asked.\n" +
          "What each figure means is in docs/routes.md.",
      ),
    )
    .action((options: RoutesOptions) => showRoutes(context, options));
}

async function showRoutes(context: CliContext, options: RoutesOptions): Promise<void> {
  const output = createOutput(context, options);
  const endpoint = endpointOf(context, options);
  if (options.watch === true) return watchRoutes(context, options, output, endpoint);
  const connection = createConnection(endpoint);
  try {
    print(output, await readRoutes(connection, callMaxMs), options.why === true);
  } catch (thrown) {
    // Translates: a status of gRPC is a reason for people, and an exit code for scripts.
    throw failureOf(thrown, options.target);
  } finally {
    connection.close();
  }
}

/** Ends with a signal, with the reader, or with a failure that no time heals; all others are told and waited out, at the next address where there are several. */
async function watchRoutes(context: CliContext, options: RoutesOptions, output: Output, endpoint: Endpoint): Promise<void> {
  const interrupt = new AbortController();
  const ended = AbortSignal.any([interrupt.signal, context.readerGone]);
  const stopListening = context.onSignal(() => interrupt.abort());
  let turn = 0;
  let connection = createConnection(endpoint);
  let failuresInRow = 0;
  let toldLast = "";
  try {
    while (!ended.aborted) {
      const read = await tryReadRoutes(connection, options.target);
      if (ended.aborted) return;
      if (read.kind === "read") {
        if (failuresInRow > 0) output.talk(`${options.target} answers again`);
        [failuresInRow, toldLast] = [0, ""];
        print(output, read.report, options.why === true);
        await sleepUnlessAborted(watchEveryMs, ended);
        continue;
      }
      if (read.why !== toldLast) output.talk(`${read.why}; asking again until it answers`);
      toldLast = read.why;
      connection.close();
      connection = createConnection(endpoint, ++turn);
      await sleepUnlessAborted(backoffMs(watchBackoff, failuresInRow++, systemRng), ended);
    }
  } finally {
    stopListening();
    connection.close();
  }
}

type Read = { readonly kind: "read"; readonly report: RoutesReport } | { readonly kind: "away"; readonly why: string };

/** Errors: CliFailure for what no other try would change. */
async function tryReadRoutes(connection: Connection, target: string): Promise<Read> {
  try {
    return { kind: "read", report: await readRoutes(connection, callMaxMs) };
  } catch (thrown) {
    // Becomes state where it may pass; otherwise translated, as a reason for people and an exit code for scripts.
    const failure = failureOf(thrown, target);
    if (failure instanceof CliFailure && !isLasting(thrown)) return { kind: "away", why: failure.message };
    throw failure;
  }
}

const isLasting = (thrown: unknown): boolean =>
  thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && lasting.has(thrown.code);

function print(output: Output, report: RoutesReport, hasWhy: boolean): void {
  if (output.isJson) output.json(report);
  else for (const line of routesView(report, output.paint, hasWhy)) output.data(line);
}
