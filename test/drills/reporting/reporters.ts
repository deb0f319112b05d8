import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { say, until } from "../results.js";
import { type Ledger, readLedger } from "./ledger.js";
import type { Chosen, Drained, ReportingLine, ReportingPlan, Standing, Working } from "./lines.js";
import type { ReportingSite } from "./site.js";

const processFile = fileURLToPath(new URL("./process.ts", import.meta.url));

/** One MCP and the processes that were it: killed, and started again on the same spool behind what the last one had taken. */
export class ReportingMcp {
  readonly mcpId: string;
  /** Which coordinator its gRPC goes to; HTTP goes to the other one. */
  readonly home: 0 | 1;
  readonly choices: Chosen[] = [];
  readonly workings: Working[] = [];
  readonly troubles = new Map<string, number>();
  readonly startedMs = Date.now();
  kills = 0;
  drained: Drained | undefined;
  isDone = false;
  readonly #plan: Omit<ReportingPlan, "first">;
  /** The last word of each process that was killed. */
  readonly #past: Standing[] = [];
  #now: Standing | undefined;
  #child: ChildProcess | undefined;

  constructor(
    site: ReportingSite,
    dir: string,
    name: string,
    index: number,
    wanted: Pick<ReportingPlan, "last" | "perSecond"> & { readonly burst?: number },
  ) {
    this.mcpId = `${name}-${index}`;
    this.home = index % 2 === 0 ? 0 : 1;
    const [grpc, web] = this.home === 0 ? site.seats : [site.seats[1], site.seats[0]];
    this.#plan = {
      ...{ mcpId: this.mcpId, spool: join(dir, `${this.mcpId}.spool`), ledger: join(dir, `${this.mcpId}.ledger`) },
      ...{ grpcTarget: grpc.target, coordinatorUrl: web.webUrl, redisUrl: site.redis.url, databaseUrl: site.reporterUrl },
      ...{ burst: 0, ...wanted },
    };
  }

  get ledger(): Ledger {
    return readLedger(this.#plan.ledger);
  }

  /** How the process that runs now stands. */
  get standing(): Standing | undefined {
    return this.#now;
  }

  /** Events resolved by transport and outcome, over all its processes: without the last moments of those that were killed. */
  get resolved(): ReadonlyMap<string, number> {
    const sums = new Map<string, number>();
    for (const { resolved } of this.#now === undefined ? this.#past : [...this.#past, this.#now])
      for (const [name, count] of Object.entries(resolved)) sums.set(name, (sums.get(name) ?? 0) + count);
    return sums;
  }

  get standings(): readonly Standing[] {
    return this.#now === undefined ? this.#past : [...this.#past, this.#now];
  }

  get resolvedCount(): number {
    return [...this.resolved.values()].reduce((sum, count) => sum + count, 0);
  }

  start(): void {
    const plan: ReportingPlan = { ...this.#plan, first: this.ledger.lastTaken + 1 };
    const child = spawn(process.execPath, ["--import", "tsx", processFile, JSON.stringify(plan)], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    child.once("exit", (code) => {
      if (this.#child === child && code !== 0) this.troubles.set(`ended by itself with ${code}`, 1);
    });
    createInterface({ input: child.stdout }).on("line", (line) => this.#hear(line));
  }

  /** kill -9. Nothing when it has finished. */
  async kill(): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || this.isDone || child.exitCode !== null) return false;
    this.#child = undefined;
    const gone = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await gone;
    this.kills += 1;
    if (this.#now !== undefined) this.#past.push(this.#now);
    this.#now = undefined;
    return true;
  }

  /** Asks it to report nothing more, and to end when its spool is empty. */
  finish(): void {
    this.#child?.kill("SIGTERM");
  }

  async ended(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
  }

  #hear(line: string): void {
    const said = parse(line);
    switch (said?.kind) {
      case "standing":
        this.#now = said;
        break;
      case "chosen":
        this.choices.push(said);
        break;
      case "working":
        this.workings.push(said);
        break;
      case "drained":
        this.drained = said;
        break;
      case "trouble":
        this.troubles.set(said.message, (this.troubles.get(said.message) ?? 0) + 1);
        break;
      case "done":
        this.isDone = true;
    }
  }
}

/** Waits until all have ended with empty spools. Says now and then how they stand. */
export async function untilDrained(mcps: readonly ReportingMcp[], maxMs: number): Promise<void> {
  const standing = () =>
    mcps.map(({ mcpId, standing: now }) => `${mcpId} ${now?.waiting ?? "?"} over ${now?.transport ?? "nothing"}`).join(", ");
  const saying = setInterval(() => say(`waiting: ${standing()}`), 10_000);
  try {
    await until("all spools are empty", maxMs, () => mcps.every(({ isDone }) => isDone), standing);
  } finally {
    clearInterval(saying);
  }
  await Promise.all(mcps.map((mcp) => mcp.ended()));
}

/** A line of a process that was killed may be half. */
function parse(line: string): ReportingLine | undefined {
  try {
    // The cast: lines.ts is what the process writes.
    return JSON.parse(line) as ReportingLine;
  } catch {
    return undefined;
  }
}
