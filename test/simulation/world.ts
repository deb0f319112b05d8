import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Principal } from "../../src/auth/principal.js";
import type { Session, SessionEvent, Step } from "../../src/hub/session.js";
import { noonMs } from "../support/draft.js";
import { ManualClock, turn } from "../support/manual-clock.js";
import { Auditor, Ledger } from "./auditor.js";
import { SimCoordinator } from "./coordinator.js";
import { edgeOf } from "./coverage.js";
import { Draw } from "./draw.js";
import { Link } from "./link.js";
import { ModelStore, type Statement, type StorePart } from "./model-store.js";
import { Peer } from "./peer.js";
import { itemNumberOf, Workload } from "./workload.js";

/** Replaces a part of the coordinator by a broken one, to prove that the simulation notices. */
export type Sabotage = {
  readonly store?: (part: StorePart, store: ModelStore) => StorePart;
  readonly link?: (link: Link) => void;
};

/** Counts of what a run has reached: `phase × event → phase: effects`. */
export type EdgeCounts = Map<string, number>;

/** Everything that exists in one schedule: a store, one or two coordinators, peers, streams, and one clock. */
export class World {
  readonly draw: Draw;
  readonly clock = new ManualClock(noonMs);
  readonly workload: Workload;
  readonly auditor: Auditor;
  readonly store: ModelStore;
  readonly coordinators: SimCoordinator[] = [];
  readonly peers: Peer[] = [];
  /** Every stream that may still move. */
  readonly links = new Set<Link>();
  readonly edges: EdgeCounts = new Map();
  /** What happened, for whoever reads a failure; empty unless asked for. */
  readonly story: string[] = [];
  readonly #isTold: boolean;
  readonly #sabotage: Sabotage;
  #linkCount = 0;
  #coordinatorCount = 0;

  constructor(seed: number, sabotage: Sabotage, isTold: boolean) {
    this.draw = new Draw(seed);
    this.#isTold = isTold;
    this.#sabotage = sabotage;
    this.workload = new Workload(this.draw);
    this.auditor = new Auditor(this.workload, () => this.store);
    const flawOf = (tag: string) => this.workload.items[itemNumberOf(tag)]?.flaw ?? "none";
    this.store = new ModelStore(this.clock, (row) => this.auditor.inserted(row), flawOf);
    const coordinatorCount = this.draw.between(1, 2);
    for (let i = 0; i < coordinatorCount; i += 1) this.coordinators.push(this.#startCoordinator());
    const peerCount = this.draw.between(1, 3);
    for (let i = 0; i < peerCount; i += 1) this.peers.push(this.#createPeer(i));
  }

  /** Notes what happens; `text` is made only when somebody wants to read it. */
  tell(text: () => string): void {
    if (this.#isTold)
      this.story.push(`${String(this.story.length).padStart(4)} ${(this.clock.monotonicMs() / 1000).toFixed(2)}s ${text()}`);
  }

  /** A coordinator that takes streams, if there is one. */
  pickCoordinator(): SimCoordinator | undefined {
    const up = this.coordinators.filter((coordinator) => coordinator.state === "up");
    return up.length === 0 ? undefined : this.draw.pick(up);
  }

  /** Opens a stream of a peer; its older one stays as it is, as after a network that lost its way. */
  connect(peer: Peer, coordinator: SimCoordinator, highWater: number): Link | undefined {
    const name = `${peer.traits.name}/${this.#linkCount++}`;
    const link = new Link(new Ledger(name, peer.traits.producerId), this.auditor, highWater);
    this.#sabotage.link?.(link);
    if (!coordinator.admit(peer.traits.principal, link)) {
      this.tell(() => `${name} is refused by coordinator ${coordinator.number}`);
      return undefined;
    }
    this.links.add(link);
    peer.connect(link);
    this.tell(() => `${name} opens at coordinator ${coordinator.number}`);
    return link;
  }

  coordinatorOf(link: Link): SimCoordinator | undefined {
    return this.coordinators.find((coordinator) => coordinator.links.has(link));
  }

  /** The stream is over for its client. */
  cut(link: Link): void {
    this.tell(() => `${link.ledger.name} is cut`);
    link.close();
    this.forget(link);
  }

  forget(link: Link): void {
    this.links.delete(link);
    this.coordinatorOf(link)?.links.delete(link);
    for (const peer of this.peers) if (peer.link === link) peer.disconnect();
  }

  /** kill -9, and another process in its place. Statements on their way may commit all the same. */
  crash(coordinator: SimCoordinator): void {
    this.tell(() => `coordinator ${coordinator.number} crashes`);
    coordinator.crash();
    this.#replace(coordinator);
  }

  /** Drains a coordinator; another process takes its place when it has ended. */
  drain(coordinator: SimCoordinator, graceMs: number): void {
    this.tell(() => `coordinator ${coordinator.number} drains within ${graceMs} ms`);
    coordinator.state = "draining";
    void coordinator.fleet.drain(graceMs).then(() => {
      if (coordinator.state === "down") return;
      this.tell(() => `coordinator ${coordinator.number} has drained`);
      coordinator.stop();
      this.#replace(coordinator);
    });
  }

  /** Statements that wait for their fate. */
  get statements(): readonly Statement[] {
    return this.store.statements;
  }

  /** Commits and answers the statements that wait, or those of one kind. */
  async answerStatements(kind = ""): Promise<void> {
    for (const statement of this.store.statements.filter(({ text }) => text.startsWith(kind))) {
      if (statement.settle("answer")) this.done(statement);
    }
    await turn();
  }

  done(statement: Statement): void {
    this.store.statements.splice(this.store.statements.indexOf(statement), 1);
  }

  #replace(coordinator: SimCoordinator): void {
    for (const statement of this.store.statements) if (statement.coordinator === coordinator.number) statement.orphan();
    for (const link of [...coordinator.links]) {
      this.links.delete(link);
      for (const peer of this.peers) if (peer.link === link) peer.disconnect();
    }
    this.coordinators[this.coordinators.indexOf(coordinator)] = this.#startCoordinator();
  }

  #startCoordinator(): SimCoordinator {
    const number = this.#coordinatorCount++;
    const part = this.store.connect(number, this.draw.between(1, 2));
    return new SimCoordinator(number, {
      clock: this.clock,
      auditor: this.auditor,
      store: this.#sabotage.store?.(part, this.store) ?? part,
      seed: this.draw.below(2 ** 31),
      stepped: (before, event, step) => this.#stepped(before, event, step),
    });
  }

  #stepped(before: Session, event: SessionEvent, { next, effects }: Step): void {
    this.auditor.stepped(event);
    const edge = edgeOf(
      before.kind,
      event.kind,
      next.kind,
      effects.map(({ kind }) => kind),
    );
    this.edges.set(edge, (this.edges.get(edge) ?? 0) + 1);
  }

  #createPeer(number: number): Peer {
    const { draw } = this;
    const isProducer = draw.chance(0.7);
    const mcpId = `mcp-${draw.below(2)}`;
    const principal: Principal = draw.chance(0.5) ? { kind: "anyone" } : { kind: "key", keyId: "k", mcpId };
    const all = [Capability.HEARTBEAT, Capability.FLOW_CONTROL, Capability.ROUTING, Capability.DRAIN];
    return new Peer({
      name: `peer-${number}`,
      mcpId,
      producerId: isProducer ? `p-${number}` : "",
      principal,
      isCoalesced: isProducer && draw.chance(0.7),
      capabilities: draw.chance(0.5) ? all : all.filter(() => draw.chance(0.5)),
      greets: isProducer || draw.chance(0.4),
    });
  }
}
