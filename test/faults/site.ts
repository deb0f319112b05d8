import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { type CoordinatorOptions, type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { type RunningPostgres, startPostgres } from "../support/postgres.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { type DatabaseLink, startDatabaseLink } from "./database-link.js";

/** What coordinators of the suite are started with. */
export const probeFile = fileURLToPath(new URL("./coordinator-probe.mjs", import.meta.url));

/** What a coordinator process holds, after a collection. Bytes; `resources` counts what keeps its event loop alive, by kind. */
export type Figures = {
  readonly heapUsed: number;
  readonly rss: number;
  readonly fds: number;
  readonly resources: Readonly<Record<string, number>>;
};

/** A seat for a coordinator: the same port through all its lives. */
export type Seat = {
  readonly name: string;
  readonly port: number;
  /** `http://127.0.0.1:<port>`; another after each restart. */
  readonly webUrl: string;
  readonly pid: number;
  readonly log: () => string;
  /** Whether the front sends new connections here. */
  isInService: boolean;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** kill -9 and a new process on the same port; resolves once it listens. The front leaves it out meanwhile. */
  readonly killAndRestart: () => Promise<void>;
  readonly figures: () => Promise<Figures>;
  readonly stall: (ms: number) => Promise<void>;
  readonly setClockAheadMs: (ms: number) => Promise<void>;
};

export type SiteOptions = {
  readonly seats: number;
  /** A server that runs already; absent: one of the site's own. */
  readonly server?: RunningPostgres;
  readonly databaseUrl?: string;
  readonly config?: string;
  readonly nodeOptions?: string;
};

/** A deployment on one machine: coordinators behind a front, and a Postgres behind a link, each of which can be hurt. */
export type Site = AsyncDisposable & {
  readonly server: RunningPostgres;
  readonly link: DatabaseLink;
  readonly seats: readonly Seat[];
  /** Where clients connect: spreads new connections over the seats in service. */
  readonly front: TcpProxy;
  /** Past the link, for auditors and saboteurs. */
  readonly admin: postgres.Sql;
  readonly target: string;
};

/** Starts everything; about three seconds. Commit times are kept, for the auditor. */
export async function openSite(options: SiteOptions): Promise<Site> {
  const parts: AsyncDisposable[] = [];
  const hold = <T extends AsyncDisposable>(part: T): T => {
    parts.unshift(part);
    return part;
  };
  const dispose = async (): Promise<void> => {
    for (const part of parts.splice(0)) await part[Symbol.asyncDispose]();
  };
  try {
    const server = options.server ?? hold(await startPostgres(["track_commit_timestamp = on", "max_wal_size = 512MB"]));
    const link = hold(await startDatabaseLink(server.port));
    const directUrl = options.databaseUrl ?? server.url;
    const databaseUrl = directUrl.replace(`:${server.port}/`, `:${link.port}/`);
    const admin = openAdmin(directUrl);
    hold({ [Symbol.asyncDispose]: () => admin.end({ timeout: 0 }) });
    const settings = { databaseUrl, ...(options.config === undefined ? {} : { config: options.config }) };
    const seats: Seat[] = [];
    for (let index = 0; index < options.seats; index += 1) seats.push(hold(await openSeat(`seat-${index}`, settings, options.nodeOptions)));
    let turn = 0;
    const pick = (): number | undefined => {
      const inService = seats.filter((seat) => seat.isInService);
      turn += 1;
      return inService[turn % Math.max(1, inService.length)]?.port;
    };
    const front = hold(await startTcpProxy(pick));
    return { server, link, seats, front, admin, target: `127.0.0.1:${front.port}`, [Symbol.asyncDispose]: dispose };
  } catch (thrown) {
    // Cleans up: processes that run already must not stay behind.
    await dispose();
    throw thrown;
  }
}

/** A connection for the suite itself. It outlives restarts of the server: each statement may fail, none hangs. */
export function openAdmin(url: string): postgres.Sql {
  return postgres(url, { max: 4, connect_timeout: 5, fetch_types: false, onnotice: () => {}, connection: { TimeZone: "UTC" } });
}

async function openSeat(name: string, options: CoordinatorOptions, nodeOptions = ""): Promise<Seat & AsyncDisposable> {
  const scratch = mkdtempSync(join(tmpdir(), "mcpc-seat-"));
  let life = 0;
  let port = 0;
  const socketPath = (): string => join(scratch, `probe-${life}`);
  const start = async (): Promise<RunningCoordinator> => {
    life += 1;
    const env = {
      MCPC_FAULTS_PROBE: socketPath(),
      NODE_OPTIONS: `--import=${probeFile} ${nodeOptions}`.trim(),
      MCPC_SERVER__COORDINATOR_ID: `${name}-life-${life}`,
    };
    const started = await startCoordinatorProcess({ ...options, env, flags: port === 0 ? [] : ["--grpc-port", String(port)] });
    port = Number(started.target.split(":")[1]);
    return started;
  };
  let coordinator = await start();
  // Whatever ends this process: nothing may stay behind.
  const sweep = (): void => coordinator.signal("SIGKILL");
  process.once("exit", sweep);
  const ask = async (request: Readonly<Record<string, unknown>>): Promise<unknown> => {
    try {
      return await askProbe(socketPath(), request);
    } catch (thrown) {
      // Nobody told it to end: what it said last is what there is to know.
      throw new Error(`${name} does not answer; the end of its log:\n${coordinator.log().slice(-4_000)}`, { cause: thrown });
    }
  };
  const seat = {
    name,
    isInService: true,
    get port() {
      return port;
    },
    get webUrl() {
      return coordinator.webUrl;
    },
    get pid() {
      return coordinator.pid;
    },
    log: () => coordinator.log(),
    signal: (signal: NodeJS.Signals) => coordinator.signal(signal),
    killAndRestart: async () => {
      await coordinator.stop();
      seat.isInService = false;
      coordinator = await start();
      seat.isInService = true;
    },
    figures: async () => {
      const answered = (await ask({ ask: "figures" })) as Omit<Figures, "fds">;
      return { ...answered, fds: readdirSync(`/proc/${coordinator.pid}/fd`).length };
    },
    stall: async (ms: number) => void (await ask({ ask: "stall", ms })),
    setClockAheadMs: async (ms: number) => void (await ask({ ask: "clock", ms })),
    [Symbol.asyncDispose]: async () => {
      process.off("exit", sweep);
      await coordinator.stop();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
  return seat;
}

function askProbe(path: string, request: Readonly<Record<string, unknown>>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`));
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    socket.once("end", () => resolve(JSON.parse(text)));
    socket.once("error", reject);
  });
}

/** Resident memory of a process, without asking it.     Units: bytes. */
export function residentBytes(pid: number): number {
  const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1] ?? 0) * 1_024;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
