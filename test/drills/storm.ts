import { loadavg } from "node:os";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { startPostgres } from "../support/postgres.js";
import { startFleet } from "./fleet.js";
import { conclude, say, setting, until } from "./results.js";

/** Statuses that a healthy client may see while nobody listens: UNAVAILABLE. Anything else is a refusal. */
const whileDown = /^14: /;

/** All sessions come back at once after kill -9 of their coordinator. */
export async function runStorm(): Promise<void> {
  const wanted = setting("STREAMS", 5_000);
  const processes = setting("PROCESSES", 2);
  const postgres = await startPostgres();
  let coordinator: RunningCoordinator = await startCoordinatorProcess({ databaseUrl: postgres.url });
  try {
    const fleet = startFleet(coordinator.target, wanted, processes, 20_000);
    try {
      await until("all streams are up", 240_000, () => fleet.standing().acked === fleet.streams, fleet.standing);
      say(`${fleet.streams} streams on ${fleet.connections} connections; kill -9`);
      fleet.mark();
      const killedAtMs = performance.now();
      const port = coordinator.target.split(":")[1] ?? "";
      await coordinator.stop();
      coordinator = await startCoordinatorProcess({ databaseUrl: postgres.url, flags: ["--grpc-port", port] });
      const listeningAtMs = performance.now();
      await until("all streams are acknowledged again", 300_000, () => fleet.standing().acked === fleet.streams, fleet.standing);
      const doneAtMs = performance.now();
      const { endings } = fleet.standing();
      const refused = Object.entries(endings).reduce((sum, [name, count]) => (whileDown.test(name) ? sum : sum + count), 0);
      const stormSeconds = (doneAtMs - killedAtMs) / 1000;
      const settings = { streams: fleet.streams, connections: fleet.connections, processes, loadAverage: loadavg()[0], endings };
      conclude("storm", settings, [
        { name: "kill -9 until it listens again", value: (listeningAtMs - killedAtMs) / 1000, unit: "s" },
        { name: "until all are acknowledged again", value: stormSeconds, unit: "s", target: "< 60 s", isMet: stormSeconds < 60 },
        { name: "ends other than UNAVAILABLE", value: refused, unit: "", target: "0", isMet: refused === 0 },
      ]);
      for (const [name, count] of Object.entries(endings)) say(`${count} × ${name}`);
      const warnings = coordinator
        .log()
        .split("\n")
        .filter((line) => /"level":(4|5|6)0/.test(line));
      say(`${warnings.length} warnings and errors in the log${warnings.length > 0 ? `, first: ${warnings[0]?.slice(0, 300)}` : ""}`);
    } finally {
      fleet.stop();
    }
  } finally {
    await coordinator.stop();
    await postgres[Symbol.asyncDispose]();
  }
}
