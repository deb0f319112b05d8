import { type Command, Option } from "commander";
import { createConnection } from "../client/connect.js";
import { type RoutesReport, readRoutes } from "../client/read-routes.js";
import { failureOf } from "./ask.js";
import { addEndpointFlags, type EndpointOptions, endpointOf } from "./endpoint.js";
import { examples, remarks } from "./help.js";
import { sleepUnlessAborted } from "./interrupt.js";
import { type CliContext, createOutput, type Output, type TalkOptions } from "./output.js";
import { routesView } from "./routes-view.js";
import { addTalkFlags } from "./setting-flags.js";

type RoutesOptions = TalkOptions & EndpointOptions & { readonly watch?: boolean; readonly why?: boolean };

/** One call must not take longer than a person waits. */
const callMaxMs = 10_000;
const watchEveryMs = 1_000;

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
        "Exit 0: shown. 4: the key may not ask. 5: the coordinator cannot be asked. Producers are those that have acked any table, on all coordinators; figures of streams are of the coordinator that was asked.\n" +
          "What each figure means is in docs/routes.md.",
      ),
    )
    .action((options: RoutesOptions) => showRoutes(context, options));
}

async function showRoutes(context: CliContext, options: RoutesOptions): Promise<void> {
  const output = createOutput(context, options);
  const connection = createConnection(endpointOf(context, options));
  const interrupt = new AbortController();
  const ended = AbortSignal.any([interrupt.signal, context.readerGone]);
  const stopListening = context.onSignal(() => interrupt.abort());
  try {
    do {
      print(output, await readRoutes(connection, callMaxMs), options.why === true);
      if (options.watch === true) await sleepUnlessAborted(watchEveryMs, ended);
    } while (options.watch === true && !ended.aborted);
  } catch (thrown) {
    // Translates: a status of gRPC is a reason for people, and an exit code for scripts.
    throw failureOf(thrown, options.target);
  } finally {
    stopListening();
    connection.close();
  }
}

function print(output: Output, report: RoutesReport, hasWhy: boolean): void {
  if (output.isJson) output.json(report);
  else for (const line of routesView(report, output.paint, hasWhy)) output.data(line);
}
