import { create } from "@bufbuild/protobuf";
import { HeartbeatSchema } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { turn } from "../support/manual-clock.js";
import { type Action, act, connect, deliver, ordinaryWeights, pass, read } from "./actions.js";
import type { Peer } from "./peer.js";
import { setScene } from "./scenes.js";
import { type EdgeCounts, type Sabotage, World } from "./world.js";

/** What one schedule came to. */
export type Outcome = {
  readonly seed: number;
  /** The first breach of an invariant, or undefined. */
  readonly breach: string | undefined;
  readonly edges: EdgeCounts;
  /** Verdicts by their number in the contract. */
  readonly verdicts: ReadonlyMap<number, number>;
  /** Every step, when it was asked for. */
  readonly story: readonly string[];
  /** Rows in the store at the end. */
  readonly rowCount: number;
};

/** Most rounds until everything must be resolved once all faults have gone. A round moves every stream and answers every statement. */
const healingRounds = 100;

/** Runs the schedule of a seed to its end, or to its first breach. The same seed gives the same schedule and the same outcome. */
export async function runSchedule(seed: number, sabotage: Sabotage = {}, isTold = false): Promise<Outcome> {
  const world = new World(seed, sabotage, isTold);
  await play(world);
  if (world.auditor.breach === undefined) await heal(world);
  if (world.auditor.breach === undefined) await close(world);
  for (const coordinator of world.coordinators) coordinator.crash();
  return {
    seed,
    breach: world.auditor.breach,
    edges: world.edges,
    verdicts: world.auditor.verdicts,
    story: world.story,
    rowCount: world.store.rows.size,
  };
}

/** Faults and work, as the seed has them. */
async function play(world: World): Promise<void> {
  const { draw } = world;
  const weights = Object.fromEntries(
    Object.entries(ordinaryWeights).map(([action, weight]) => [action, weight * draw.pick([0, 0.5, 1, 1, 1, 3, 8])]),
  ) as Record<Action, number>; // the same keys
  weights.connect = Math.max(weights.connect, 3);
  weights.make = Math.max(weights.make, 3);
  await setScene(world);
  for (const peer of world.peers) if (draw.chance(0.8)) connect(world, peer);
  const steps = draw.pick([20, 60, 60, 120]);
  for (let i = 0; i < steps && world.auditor.breach === undefined; i += 1) {
    await act(world, draw.weighted(weights));
    await turn();
    for (const coordinator of world.coordinators) coordinator.checkBounds();
  }
}

/** All faults go; every peer reconnects and must get everything resolved. */
async function heal(world: World): Promise<void> {
  world.tell(() => "all faults are gone");
  world.store.isDown = false;
  for (const link of [...world.links]) world.cut(link);
  for (let round = 0; world.auditor.breach === undefined; round += 1) {
    const isDone = world.peers.every(isSettled) && world.coordinators.every(({ ingest }) => ingest.queue.pendingEvents === 0);
    if (isDone) return;
    if (round === healingRounds) {
      const left = world.peers.map((peer) => `${peer.traits.name} holds ${peer.held.size}`).join(", ");
      return world.auditor.report(`not everything was resolved after all faults had gone: ${left}`);
    }
    await healOnce(world);
  }
}

async function healOnce(world: World): Promise<void> {
  for (const peer of world.peers) {
    const coordinator = world.pickCoordinator();
    if (peer.link === undefined && coordinator !== undefined) world.connect(peer, coordinator, 1_000);
    const { link } = peer;
    if (peer.isWelcome) link?.toServer.push({ kind: "frame", frame: { case: "heartbeat", value: create(HeartbeatSchema) } });
    for (const held of peer.waiting()) if (!held.wasRefused) link?.toServer.push({ kind: "events", parcels: [peer.pack(held)] });
  }
  for (const link of [...world.links]) deliver(world, link, 1_000);
  await settleAll(world);
  for (const link of [...world.links]) read(world, link, 10_000);
  await pass(world, 2_100);
}

/** Answers every statement, and those that follow from the answers, as a store does that is well. */
async function settleAll(world: World): Promise<void> {
  await turn();
  for (let i = 0; i < healingRounds && world.statements.length > 0; i += 1) await world.answerStatements();
}

/** Nothing is held but what is refused for now. */
function isSettled(peer: Peer): boolean {
  return [...peer.held.values()].every((held) => held.wasRefused) && (peer.held.size === 0 || peer.link !== undefined);
}

/** Every coordinator drains; nothing may be left. */
async function close(world: World): Promise<void> {
  const { auditor } = world;
  for (const peer of world.peers) {
    for (const item of peer.resolved) {
      const isStored = item.flaw !== "none" || item.variants.length > 1 || item.eventId === "";
      if (!isStored && world.store.find(item.eventId, item.mcpId) === undefined) {
        auditor.report(`${peer.traits.name} was told that event ${item.number} is resolved, but it is not stored`);
      }
    }
  }
  const drained = world.coordinators.map((coordinator) => coordinator.fleet.drain(1_000));
  for (let round = 0; round < 40 && world.coordinators.some(({ fleet }) => fleet.size > 0); round += 1) {
    for (const link of [...world.links]) read(world, link, 10_000);
    await settleAll(world);
    await pass(world, 2_100);
  }
  for (const { number, fleet, ingest } of world.coordinators) {
    if (fleet.size > 0) auditor.report(`coordinator ${number} has ${fleet.size} sessions left after its drain`);
    if (ingest.queue.pendingEvents !== 0 || ingest.queue.pendingBytes !== 0) {
      auditor.report(
        `coordinator ${number} has ${ingest.queue.pendingEvents} events, ${ingest.queue.pendingBytes} bytes left in its queue`,
      );
    }
  }
  auditor.checkRows();
  if (auditor.breach === undefined) await Promise.all(drained);
}
