import { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { unreachable } from "../../src/platform/assert.js";
import type { TcpProxy } from "../support/tcp-proxy.js";
import type { ClientProcess } from "./client-process.js";
import type { Material, Told } from "./material.js";
import { type RunRecord, seenOf } from "./record.js";
import type { Scenario, Step } from "./scenario.js";
import type { Site } from "./site.js";
import { tablesAfter } from "./tables.js";
import type { WebRelay } from "./web-relay.js";
import { nameOf, type Witness } from "./witness.js";

/** Everything that a scenario acts on. */
export type Stage = {
  readonly site: Site;
  readonly client: ClientProcess;
  readonly witness: Witness;
  readonly record: RunRecord;
  readonly material: Material;
  /** In front of the relay: what the client connects to. */
  readonly front: TcpProxy;
  readonly web: WebRelay;
};

/** A step that did not come to its end, and what was awaited in vain. */
export type StepFault = { readonly step: string; readonly awaited: string };

const exitMaxMs = 60_000;
const tableMaxMs = 20_000;
const pollMs = 10;

/** Plays the steps in order, and stops at the first that the client does not see through. Returns that one, or undefined. */
export async function playScenario(stage: Stage, scenario: Scenario): Promise<StepFault | undefined> {
  await using player = new Player(stage, scenario);
  for (const step of scenario.steps) {
    const awaited = await player.play(step);
    if (awaited !== undefined) return { step: step.do, awaited };
  }
  return undefined;
}

class Player implements AsyncDisposable {
  readonly #stage: Stage;
  readonly #scenario: Scenario;
  /** Of the report before. */
  #told: readonly Told[] = [];
  #bystander: StreamSession | undefined;

  constructor(stage: Stage, scenario: Scenario) {
    this.#stage = stage;
    this.#scenario = scenario;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bystander?.close();
  }

  /** Undefined when the step is done; else what did not come. */
  async play(step: Step): Promise<string | undefined> {
    const { material, witness } = this.#stage;
    switch (step.do) {
      case "report":
        return this.#tell(material.interactions(step.interactions, step.payload_bytes));
      case "report_unfit":
        return this.#tell(material.unfit());
      case "report_early":
        return this.#tell(material.early(step.ahead_ms));
      case "settle":
        return this.#settle();
      case "shrink":
        return (await this.#sent(step.after_events)) ?? void witness.setWindow(step.max_unacked_events);
      case "restore":
        return void witness.setWindow(this.#scenario.terms.max_unacked_events);
      case "stir":
        return this.#stir();
      case "kill":
        return (await this.#sent(step.after_events)) ?? this.#kill(step.attempts);
      case "drain":
        return (await this.#sent(step.after_events)) ?? this.#drain(step.reconnect_delay_ms);
      case "mute":
        return this.#mute();
      case "lose_grpc":
        return (await this.#sent(step.after_events)) ?? this.#loseGrpc(step.until_posted);
      case "offer_tables":
        return this.#offerTables();
      case "close":
        return this.#close();
      default:
        return unreachable(step);
    }
  }

  #tell(events: readonly Told[]): undefined {
    this.#told = events;
    this.#stage.client.tell(events);
  }

  async #await(what: string, holds: () => boolean, maxMs = this.#scenario.terms.patience_ms): Promise<string | undefined> {
    const { record, client } = this.#stage;
    const held = await record.until(() => holds() || !client.isRunning(), maxMs);
    if (held && holds()) return undefined;
    return client.isRunning() ? `${what}, within ${maxMs} ms` : `${what}, before the client ended`;
  }

  /** Waits until `count` events of the report before have been on the wire. */
  #sent(count: number): Promise<string | undefined> {
    const { progress } = this.#stage.witness;
    const sentCount = () => this.#told.filter(({ event }) => (progress.events.get(event.eventId)?.sends ?? 0) > 0).length;
    return this.#await(`${count} events of the report`, () => sentCount() >= count);
  }

  #settle(): Promise<string | undefined> {
    const { material, witness } = this.#stage;
    const open = () => material.all.find(({ event }) => witness.progress.events.get(event.eventId)?.isResolved !== true);
    return this.#await("a final verdict on every event", () => open() === undefined);
  }

  /** Another MCP comes, so that there is a new table; it is spoilt on its way, and the whole one that the coordinator sends then is not. */
  async #stir(): Promise<string | undefined> {
    const { record, witness, site } = this.#stage;
    const acked = (status: ApplyStatus, from: number) =>
      seenOf(record.seen.slice(from), "routing_ack").some(({ ack }) => ack.status === status);
    const missing = await this.#await("an ack of the first table", () => acked(ApplyStatus.APPLIED, 0));
    if (missing !== undefined) return missing;
    const from = record.seen.length;
    witness.isSpoiling = true;
    const endpoint = { target: site.coordinator()?.target ?? "", key: site.keys.operator };
    this.#bystander = createStreamSession({ endpoint, mcpId: "bystander" });
    const spoilt = await this.#await("an ack of the table that was spoilt on its way", () =>
      seenOf(record.seen.slice(from), "table").some(
        ({ update, expected, atMs }) =>
          expected.status === "rejected" &&
          seenOf(record.seen, "routing_ack").some((one) => one.atMs > atMs && one.ack.nonce === update.nonce),
      ),
    );
    return spoilt ?? this.#await("the whole table after it, applied", () => acked(ApplyStatus.APPLIED, from), 10_000).then(() => undefined);
  }

  /**
   * Kill -9 at the worst time: some events are stored and their acks have not reached the client, some were sent and have not reached the coordinator.
   * A new process comes once the client has tried `attempts` times.
   */
  async #kill(attempts: number): Promise<string | undefined> {
    const { record, witness, site, front } = this.#stage;
    const stream = witness.newest?.index ?? 0;
    const { max_unacked_events, max_batch_events } = this.#scenario.terms;
    witness.lose(stream);
    witness.setWindow(max_unacked_events + max_batch_events); // a client with a full window sends on
    const lost = () => witness.lostEvents > 0;
    for (let waitedMs = 0; !lost() && waitedMs < this.#scenario.terms.patience_ms; waitedMs += pollMs) await sleep(pollMs);
    const before = witness.withheldAcks;
    witness.mute(stream);
    // Not for long: a client leaves a stream on which its heartbeats are not answered.
    for (let waitedMs = 0; witness.withheldAcks === before && waitedMs < 1_000; waitedMs += pollMs) await sleep(pollMs);
    record.add({ kind: "fault", fault: "kill", stream });
    witness.setWindow(max_unacked_events, false);
    await site.kill();
    front.cut("reset");
    const from = record.seen.length;
    const tried = await this.#await(
      `${attempts} attempts to reconnect`,
      () => seenOf(record.seen.slice(from), "opened").length >= attempts,
    );
    await site.start();
    record.add({ kind: "healed" });
    return tried;
  }

  async #drain(reconnectDelayMs: number): Promise<undefined> {
    const { record, witness, site } = this.#stage;
    witness.drainDelayMs = reconnectDelayMs;
    record.add({ kind: "fault", fault: "drain", stream: witness.newest?.index ?? 0 });
    await site.terminate();
    await site.start();
    record.add({ kind: "healed" });
  }

  async #mute(): Promise<string | undefined> {
    const { record, witness } = this.#stage;
    const beats = () => seenOf(record.seen, "heartbeat").filter(({ stream }) => stream === witness.newest?.index).length;
    const missing = await this.#await("two heartbeats on one stream", () => beats() >= 2);
    if (missing !== undefined) return missing;
    const stream = witness.newest?.index ?? 0;
    record.add({ kind: "fault", fault: "mute", stream });
    witness.mute(stream);
    const left = await this.#await("the end of a stream on which nothing is answered", () =>
      seenOf(record.seen, "ended").some((one) => one.stream === stream),
    );
    record.add({ kind: "healed" });
    return left;
  }

  async #loseGrpc(untilPosted: number): Promise<string | undefined> {
    const { record, witness, front, web } = this.#stage;
    record.add({ kind: "fault", fault: "lose_grpc", stream: witness.newest?.index ?? 0 });
    web.loseNextAnswer();
    front.set("close");
    front.cut("reset");
    const from = record.seen.length;
    const posted = () =>
      new Set(
        seenOf(record.seen.slice(from), "posted").flatMap(({ events, verdicts }) =>
          verdicts === undefined ? [] : events.map((e) => e.eventId),
        ),
      );
    const missing = await this.#await(`${untilPosted} events over HTTP`, () => posted().size >= untilPosted, 30_000);
    front.set("pass");
    record.add({ kind: "healed" });
    // Its absence is a finding of the behaviour, not the end of the run: a client may do without HTTP.
    return this.#stage.client.isRunning() ? undefined : missing;
  }

  async #offerTables(): Promise<string | undefined> {
    const { record, witness } = this.#stage;
    const isAcked = (nonce: string, from: number) =>
      seenOf(record.seen.slice(from), "routing_ack").some(({ ack }) => ack.nonce === nonce && ack.status !== ApplyStatus.RECEIVED);
    // Everything may have been settled over HTTP before the stream is back.
    const isUp = () => seenOf(record.seen, "welcome").some(({ stream }) => stream === witness.newest?.index);
    const missing = await this.#await("a stream with a Welcome", isUp);
    if (missing !== undefined) return missing;
    witness.isWithholdingTables = true;
    const last = seenOf(record.seen, "table").at(-1);
    if (last !== undefined) await this.#await("the ack before", () => isAcked(last.update.nonce, 0), tableMaxMs);
    const before = nameOf(witness.inForce);
    if (before === undefined) return "a table of the coordinator";
    for (const { update, expected } of tablesAfter(before)) {
      const from = record.seen.length;
      witness.offer(update, expected);
      await this.#await("an ack", () => isAcked(update.nonce, from), tableMaxMs); // without one the check says so
    }
    return undefined;
  }

  async #close(): Promise<string | undefined> {
    const { client } = this.#stage;
    client.finish();
    const gone = await Promise.race([client.exited.then(() => true), sleep(exitMaxMs).then(() => false)]);
    return gone ? undefined : `its exit, within ${exitMaxMs} ms`;
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
