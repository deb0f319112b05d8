import { create } from "@bufbuild/protobuf";
import { HeartbeatSchema } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { turn } from "../support/manual-clock.js";
import { connect, deliver, flood, halfClose, make, misbehave, report, send } from "./actions.js";
import type { Link } from "./link.js";
import type { Peer } from "./peer.js";
import type { World } from "./world.js";

/**
 * Beginnings that chance alone would seldom find: each brings the world to the edge of something, and the schedule goes on from there.
 * `full`: more bytes pend than may. `overtaken`: events wait at the store while their producer opens another session. `farewell`: a coordinator
 * drains while events wait. `deaf`: a peer sends and does not read.
 */
const scenes = { none: 90, full: 3, overtaken: 5, farewell: 5, deaf: 3 } as const;

export async function setScene(world: World): Promise<void> {
  const scene = world.draw.weighted(scenes);
  if (scene === "none") return;
  const [peer] = world.peers;
  if (peer === undefined) return;
  const link = await open(world, peer, scene === "deaf" ? 1 : 1_000);
  if (link === undefined) return;
  world.tell(() => `scene: ${scene}`);
  switch (scene) {
    case "full":
      await fill(world, peer, link);
      break;
    case "overtaken":
      await sendSome(world, peer, link);
      connect(world, peer, true);
      await turn();
      await world.answerStatements("open");
      break;
    case "farewell": {
      await sendSome(world, peer, link);
      const coordinator = world.coordinatorOf(link);
      if (coordinator !== undefined) world.drain(coordinator, 60_000);
      await sayGoodbye(world, peer, link);
      break;
    }
    case "deaf":
      for (let i = 0; i < 4; i += 1) await sendSome(world, peer, link);
      link.toServer.push({ kind: "frame", frame: { case: "heartbeat", value: create(HeartbeatSchema) } });
      if (world.draw.chance(0.5)) halfClose(world, peer, link);
      break;
  }
  deliver(world, link, 1_000);
  await turn();
}

/** One peer fills the queue; a unary call is taken from the reserve, the next one and another peer find it full, and perhaps the coordinators drain before it empties. */
async function fill(world: World, peer: Peer, link: Link): Promise<void> {
  const other = world.peers[1];
  const otherLink = other && (await open(world, other, 1_000));
  flood(world, peer, "heavy");
  deliver(world, link, 1_000);
  for (let calls = 0; calls < 2; calls += 1) report(world, peer);
  if (other !== undefined && otherLink !== undefined) await sendSome(world, other, otherLink);
  for (const coordinator of world.coordinators) if (world.draw.chance(0.5)) world.drain(coordinator, 60_000);
  for (let i = world.draw.pick([0, 40]); i > 0; i -= 1) await world.answerStatements();
}

/** What may happen between a DrainNotice and the end. */
async function sayGoodbye(world: World, peer: Peer, link: Link): Promise<void> {
  switch (world.draw.pick(["misbehave", "half_close", "outage", "reconnect", "wait"] as const)) {
    case "misbehave":
      return misbehave(world, peer);
    case "half_close":
      return halfClose(world, peer, link);
    case "outage":
      world.store.isDown = true;
      return;
    case "reconnect":
      connect(world, peer, true);
      await turn();
      return world.answerStatements("open");
    case "wait":
      return;
  }
}

/** A stream that is welcome, if the schedule lets it be opened. */
async function open(world: World, peer: Peer, highWater: number): Promise<Link | undefined> {
  const coordinator = world.pickCoordinator();
  const link = coordinator && world.connect(peer, coordinator, highWater);
  if (link === undefined) return undefined;
  deliver(world, link, 1);
  await turn();
  await world.answerStatements("open");
  for (const frame of link.read(1)) peer.receive(frame);
  return link;
}

/** Events that reach the coordinator and wait there for the store. */
async function sendSome(world: World, peer: Peer, link: Link): Promise<void> {
  make(world, peer);
  send(world, peer);
  deliver(world, link, 1_000);
  await turn();
}
