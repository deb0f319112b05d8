import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createConnection } from "../../src/client/connect.js";
import { readRoutes } from "../../src/client/read-routes.js";
import { type LookedUp, lookUp } from "../../src/client/verify.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { runCli } from "../support/coordinator.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { type ClientCommand, startClient } from "./client-process.js";
import type { RunFacts, StoredFacts } from "./facts.js";
import { type Behaviour, type Judgement, judgeRun } from "./judge.js";
import { LedgerWatch } from "./ledger-watch.js";
import { Material, mcpId, type Told } from "./material.js";
import { playScenario, type StepFault } from "./play.js";
import { lineOfSeen, RunRecord } from "./record.js";
import { type Bend, startRelay } from "./relay.js";
import type { Scenario } from "./scenario.js";
import { openSite, type Site } from "./site.js";
import { startWebRelay } from "./web-relay.js";
import { Witness } from "./witness.js";

/** What a run may do otherwise. `misbehaviour` stands between the client and the witness, for testing the kit itself. */
export type RunOptions = { readonly isEmbedded?: boolean; readonly misbehaviour?: Bend };

/** A client to certify. */
export type Candidate = {
  readonly name: string;
  readonly command: ClientCommand;
  /** What its owner says that it does not do. */
  readonly without: ReadonlySet<Behaviour>;
  /** Where to write what was seen, one JSON object a line; nowhere when undefined. */
  readonly recordPath?: string | undefined;
};

/** The machine-readable result of one run. */
export type Certificate = {
  readonly client: string;
  readonly scenario: string;
  readonly store: "postgres" | "embedded";
  readonly passed: boolean;
  readonly seconds: number;
  readonly events: number;
  readonly judgements: readonly Judgement[];
  /** The end of what the client wrote, when it did not pass. */
  readonly output: string;
};

const deadlineMs = 10_000;

/**
 * Plays the scenario with one client and judges it, on a Postgres of its own where its programs are, and unless the embedded store is asked for.
 * Errors: when the kit's own coordinator or store does not start. What the client does is never an error.
 */
export async function certify(candidate: Candidate, scenario: Scenario, options: RunOptions = {}): Promise<Certificate> {
  const startedMs = performance.now();
  const scratch = await mkdtemp(join(tmpdir(), "mcpc-candidate-"));
  try {
    await using site = await openSite(mcpId, scenario.terms.heartbeat_seconds, options.isEmbedded !== true);
    const { facts, output } = await runCandidate(candidate, scenario, site, join(scratch, "ledger.jsonl"), options.misbehaviour);
    const judgements = judgeRun(facts, candidate.without);
    const passed = judgements.every(({ verdict }) => verdict !== "failed");
    const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
    const base = { client: candidate.name, scenario: scenario.name, store: site.store, passed, seconds, events: facts.told.length };
    return { ...base, judgements, output: passed ? "" : output };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function runCandidate(
  candidate: Candidate,
  scenario: Scenario,
  site: Site,
  ledgerPath: string,
  misbehaviour: Bend | undefined,
): Promise<{ readonly facts: RunFacts; readonly output: string }> {
  using ledger = new LedgerWatch(ledgerPath);
  const record = new RunRecord();
  const witness = new Witness(record, scenario.terms, ledger);
  const relay = await startRelay(() => site.coordinator()?.target, witness.bend);
  const bent = misbehaviour === undefined ? undefined : await startRelay(() => `127.0.0.1:${relay.port}`, misbehaviour);
  await using front = await startTcpProxy(bent?.port ?? relay.port);
  const web = await startWebRelay(
    () => site.coordinator()?.webUrl,
    (post) => witness.posted(post),
  );
  const { keys } = site;
  const at = { target: `127.0.0.1:${front.port}`, webUrl: `http://127.0.0.1:${web.port}`, key: keys.client, ledger: ledgerPath };
  const client = startClient(candidate.command, at);
  const material = new Material();
  try {
    const stepFault = await playScenario({ site, client, witness, record, material, front, web }, scenario);
    const exit = client.isRunning() ? "killed" : await client.exited;
    await client.kill();
    await record.until(() => record.seen.at(-1)?.kind === "ended", 2_000);
    if (candidate.recordPath !== undefined) await writeFile(candidate.recordPath, record.seen.map(lineOfSeen).join(""));
    ledger.read();
    if (site.coordinator() === undefined) await site.start();
    const appliedAtCoordinator = await readApplied(site);
    const stored = await readStored(site, material.all);
    const faults = [...ledger.faults, ...(await verifyLedger(site, ledgerPath, stepFault))];
    const { terms } = scenario;
    const facts = { seen: record.seen, told: material.all, terms, key: keys.client, stored, exit, stepFault, appliedAtCoordinator };
    return { facts: { ...facts, ledger: { sent: ledger.sent, acked: ledger.acked, faults } }, output: client.output() };
  } finally {
    await client.kill();
    bent?.stop();
    relay.stop();
    await web.stop();
  }
}

/** The last ack that the coordinator has of the client: of its own tables, as the kit keeps the acks of its own. */
async function readApplied(site: Site): Promise<RunFacts["appliedAtCoordinator"]> {
  const connection = createConnection({ target: site.coordinator()?.target ?? "", key: site.keys.operator });
  try {
    const { producers } = await readRoutes(connection, deadlineMs);
    const own = producers.find((producer) => producer.mcpId === mcpId);
    return own === undefined ? undefined : { version: own.version, status: own.status };
  } finally {
    connection.close();
  }
}

async function readStored(site: Site, told: readonly Told[]): Promise<StoredFacts> {
  const connection = createConnection({ target: site.coordinator()?.target ?? "", key: site.keys.client });
  const pageEvents = 100;
  const found = new Map<string, LookedUp>();
  const expected = new Map<string, number>();
  for (const { event, destiny } of told) {
    expected.set(event.interactionId, (expected.get(event.interactionId) ?? 0) + (destiny === "refused" ? 0 : 1));
  }
  const tallyFaults: string[] = [];
  try {
    for (let at = 0; at < told.length; at += pageEvents) {
      const events = told.slice(at, at + pageEvents).map(({ event }) => ({ eventId: event.eventId, encoded: encodeEvent(event) }));
      const page = await lookUp(connection, { mcpId, events, interactionIds: [] }, deadlineMs);
      for (const [index, { eventId }] of events.entries()) found.set(eventId, page.events[index] ?? "nothing");
    }
    const interactionIds = [...expected.keys()];
    const { tallies } = await lookUp(connection, { mcpId, events: [], interactionIds }, deadlineMs);
    for (const [id, count] of expected) {
      const { storedEvents = 0, mergedEvents = 0 } = tallies?.get(id) ?? {};
      if (storedEvents !== count || mergedEvents !== count)
        tallyFaults.push(`${id}: told ${count}, stored ${storedEvents}, counted ${mergedEvents}`);
    }
  } finally {
    connection.close();
  }
  return { events: found, tallyFaults };
}

/** The project's own audit of the ledger, which knows nothing of the scenario. */
async function verifyLedger(site: Site, path: string, stepFault: StepFault | undefined): Promise<readonly string[]> {
  const { code, stderr } = await runCli(["verify", path, "--target", site.coordinator()?.target ?? ""], { MCPC_KEY: site.keys.client });
  return code === 0 || stepFault !== undefined ? [] : [`mcp-coordinator verify exits with ${code}: ${stderr.slice(0, 500)}`];
}
