import postgres, { type Sql } from "postgres";
import { type RunningCoordinator, startCoordinatorProcess } from "../../support/coordinator.js";
import { type RunningPostgres, startPostgres } from "../../support/postgres.js";
import { type RunningRedis, startRedis } from "../../support/redis.js";
import { say, sleep } from "../results.js";

/** A coordinator that a supervisor keeps: started again at the same ports whenever it ends. */
export class Seat {
  readonly name: string;
  readonly #start: (flags: readonly string[]) => Promise<RunningCoordinator>;
  #running: RunningCoordinator;

  private constructor(name: string, running: RunningCoordinator, start: (flags: readonly string[]) => Promise<RunningCoordinator>) {
    this.name = name;
    this.#running = running;
    this.#start = start;
  }

  static async open(name: string, databaseUrl: string, config: string): Promise<Seat> {
    const start = (flags: readonly string[]) => startCoordinatorProcess({ databaseUrl, config, flags });
    return new Seat(name, await start([]), start);
  }

  get target(): string {
    return this.#running.target;
  }
  get webUrl(): string {
    return this.#running.webUrl;
  }

  signal(signal: NodeJS.Signals): void {
    this.#running.signal(signal);
  }

  /** kill -9; then it is away until `start`. */
  async kill(): Promise<void> {
    await this.#running.stop();
  }

  /** Tries until it listens: a coordinator whose store is away ends at its start, and a supervisor starts it again. */
  async start(): Promise<void> {
    const ports = [this.target, new URL(this.webUrl).host].map((address) => address.split(":")[1] ?? "");
    const flags = ["--grpc-port", ports[0] ?? "", "--web-port", ports[1] ?? ""];
    for (const untilMs = performance.now() + 120_000; ; ) {
      try {
        this.#running = await this.#start(flags);
        return;
      } catch (thrown) {
        if (performance.now() > untilMs) throw thrown;
        await sleep(100);
      }
    }
  }
}

/** Two coordinators, Postgres with fsync, and Redis with an append-only file, all in processes of their own. */
export type ReportingSite = {
  readonly seats: readonly [Seat, Seat];
  readonly postgres: RunningPostgres;
  readonly redis: RunningRedis;
  /** Of a role that may only insert into interaction_logs. */
  readonly reporterUrl: string;
  /** A connection of the drill's own, of the superuser. */
  readonly connect: () => Sql;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export async function openSite(): Promise<ReportingSite> {
  const server = await startPostgres();
  const redis = await startRedis({ appendfsync: "everysec" });
  const config = `[redis]\nurl = "${redis.url}"\nblock_ms = 200\nclaim_idle_ms = 2000\n[shared_table]\ninterval_ms = 200\n`;
  const seats = [await Seat.open("coordinator A", server.url, config), await Seat.open("coordinator B", server.url, config)] as const;
  const connect = () => postgres(server.url, { max: 1, onnotice: () => {} });
  const admin = connect();
  await admin.unsafe("CREATE ROLE reporter LOGIN");
  await admin.unsafe("GRANT INSERT (mcp_id, interaction_id, data) ON interaction_logs TO reporter");
  await admin.end();
  say(`two coordinators at ${seats[0].target} and ${seats[1].target}, Postgres and Redis are up`);
  return {
    ...{ seats, postgres: server, redis, connect, reporterUrl: server.url.replace("postgres@", "reporter@") },
    [Symbol.asyncDispose]: async () => {
      for (const seat of seats) await seat.kill();
      await redis[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
