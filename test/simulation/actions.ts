import { create } from "@bufbuild/protobuf";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { ApplyStatus, RoutingAckSchema } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { CredentialRefreshSchema, HeartbeatSchema } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { reportOnce } from "../../src/ingest/report.js";
import { limits } from "../../src/platform/limits.js";
import { ackToProto } from "../../src/wire/ack.js";
import { draftFromProto } from "../../src/wire/event.js";
import type { ServerFrame } from "../../src/wire/server-frame.js";
import { settingsOfTest } from "../support/make-fleet.js";
import { type SimCoordinator, unknownKey } from "./coordinator.js";
import type { Link, Parcel } from "./link.js";
import type { Fate } from "./model-store.js";
import type { Peer } from "./peer.js";
import { type Flaw, type Item, tagOf } from "./workload.js";
import type { World } from "./world.js";

/** What may happen next, and how likely it is among the others. A schedule draws weights of its own, so that some do one thing a lot. */
export const ordinaryWeights = {
  make: 8,
  send: 14,
  deliver: 16,
  read: 12,
  store: 18,
  wait: 3,
  connect: 5,
  heartbeat: 2,
  routes: 1,
  halfClose: 1,
  cut: 1,
  unary: 1.5,
  odd: 0.5,
  outage: 0.5,
  flood: 0.4,
  stall: 0.3,
  sleep: 0.5,
  drain: 0.5,
  refresh: 0.5,
  settings: 0.6,
  squeeze: 0.5,
  abort: 0.2,
  crash: 0.4,
  amnesia: 0.1,
} as const;

export type Action = keyof typeof ordinaryWeights;

/** Lets one thing happen. Synchronous; what it sets off runs in the turn after. */
export async function act(world: World, action: Action): Promise<void> {
  const { draw } = world;
  const ready = world.peers.filter((one) => one.isWelcome && (action !== "send" || one.waiting().length > 0));
  const peer = draw.pick(ready.length > 0 && draw.chance(0.9) && action !== "connect" ? ready : world.peers);
  switch (action) {
    case "make":
      return make(world, peer);
    case "send":
      return send(world, peer);
    case "deliver":
      return forLink(world, isSpeaking, (link) => deliver(world, link, draw.pick([1, 2, 4, 100])));
    case "read":
      return forLink(world, isSpokenTo, (link) => read(world, link, draw.pick([1, 3, 6, 100])));
    case "store":
      return answer(world);
    case "wait":
      return pass(world, draw.pick([1, 10, 60, 500, 2_100]));
    case "sleep":
      return pass(world, draw.pick([5_000, 11_000, 16_000, 31_000, 46_000]));
    case "connect":
      return connect(world, peer);
    case "heartbeat":
      sendFrame(world, peer, "heartbeat", { case: "heartbeat", value: create(HeartbeatSchema, { id: BigInt(draw.below(100)) }) });
      return;
    case "routes":
      return route(world, peer);
    case "halfClose":
      if (peer.link !== undefined) halfClose(world, peer, peer.link);
      return;
    case "cut":
      return forLink(world, isAny, (link) => world.cut(link));
    case "unary":
      return report(world, peer);
    case "odd":
      return misbehave(world, peer);
    case "flood":
      return flood(world, peer, draw.weighted(floods));
    case "outage":
      world.store.isDown = !world.store.isDown;
      return world.tell(() => `the store is ${world.store.isDown ? "down" : "up again"}`);
    case "stall":
      world.clock.stall(draw.between(3_500, 60_000));
      return world.tell(() => "everything stands still");
    case "drain": {
      const coordinator = world.pickCoordinator();
      if (coordinator !== undefined) world.drain(coordinator, draw.pick([500, 5_000, 20_000, 60_000]));
      return;
    }
    case "refresh":
      return refresh(world, peer);
    case "settings":
      return reconfigure(world);
    case "squeeze":
      for (const coordinator of world.coordinators) coordinator.memoryShare = draw.pick([0, 0, 0.95]);
      return world.tell(() => "the memory in use changes");
    case "abort":
      return forLink(world, isAny, (link) => link.abort());
    case "crash":
      return world.crash(draw.pick(world.coordinators));
    case "amnesia":
      if (peer.traits.producerId === "") return;
      world.auditor.forgot(peer.traits.producerId);
      return peer.forget();
  }
}

/** Moves what a client has sent. */
export function deliver(world: World, link: Link, count: number): void {
  world.coordinatorOf(link)?.deliver(link, count);
}

/** Lets the client of a stream read. When it has read everything and the coordinator has ended the stream, the stream is over. */
export function read(world: World, link: Link, count: number): void {
  const peer = world.peers.find((one) => one.link === link);
  for (const frame of link.read(count)) {
    world.tell(() => `${link.ledger.name} reads ${describe(frame)}`);
    if (peer?.receive(frame) === "half_close") halfClose(world, peer, link);
  }
  if (link.toClient.length === 0 && link.state !== "open") {
    world.tell(() => `${link.ledger.name} reads the end: ${link.error?.reason ?? link.state}`);
    link.close();
    world.forget(link);
  }
}

/** A frame in a few words. */
function describe({ frame }: ServerFrame): string {
  switch (frame.case) {
    case "welcome":
      return `welcome: epoch ${frame.value.producerEpoch}, resume after ${frame.value.resumeAfterSequence}`;
    case "eventAck":
      return `ack ${EventStatus[frame.value.status]} of sequence ${frame.value.sequence}, ${frame.value.eventId}`;
    case "eventAckBatch": {
      const ranges = frame.value.ranges.map((range) => `${range.first}-${range.last} ${EventStatus[range.status]}`);
      const exceptions = frame.value.exceptions.map((ack) => `${ack.sequence} ${EventStatus[ack.status]}`);
      return `acks through ${frame.value.resolvedThroughSequence}: ${[...ranges, ...exceptions].join(", ")}`;
    }
    default:
      return frame.case ?? "nothing";
  }
}

/** Gives one statement its fate. */
function answer(world: World): void {
  const { draw, statements } = world;
  if (statements.length === 0) return;
  const statement = draw.pick(statements);
  const fate = draw.weighted<Fate>({ answer: 30, lose_answer: 1, deadlock: 1, refuse: 1, commit_only: 1 });
  const isOver = statement.settle(fate);
  world.tell(() => `${statement.text} of coordinator ${statement.coordinator}: ${world.store.isDown ? "down, " : ""}${fate}`);
  if (isOver) world.done(statement);
}

export async function pass(world: World, ms: number): Promise<void> {
  world.tell(() => `${ms} ms pass`);
  await world.clock.advance(ms);
}

const isAny = () => true;
const isSpeaking = (link: Link) => link.toServer.length > 0 && !link.isPaused;
const isSpokenTo = (link: Link) => link.toClient.length > 0 || link.state !== "open";

/** Picks a stream for which there is something to do. */
function forLink(world: World, isWanted: (link: Link) => boolean, then: (link: Link) => void): void {
  const links = [...world.links].filter(isWanted);
  if (links.length > 0) then(world.draw.pick(links));
}

const flaws: Readonly<Record<Flaw, number>> = {
  none: 40,
  invalid: 1,
  skewed: 1,
  astray: 0.5,
  old: 0.5,
  large: 0.5,
  foreign: 0.5,
  poison: 0.5,
  bug: 0.3,
};

export function make(world: World, peer: Peer): void {
  const count = world.draw.weighted({ "1": 5, "3": 5, "10": 2, "300": 0.05 });
  for (let i = 0; i < Number(count); i += 1) {
    const sequence = peer.takeSequence();
    if (sequence === undefined) return;
    peer.hold(world.workload.make(world.draw.weighted(flaws), peer.traits.mcpId, sequence, world.clock.nowMs()));
  }
}

/** Puts waiting events on the stream: a producer in order; a person in any order, more than once, and with other content under the same id. */
export function send(world: World, peer: Peer): void {
  const { draw } = world;
  const { link } = peer;
  if (link === undefined) return;
  const waiting = peer.waiting();
  if (waiting.length === 0) return;
  const isPerson = peer.traits.producerId === "";
  const count = Math.min(waiting.length, draw.pick([1, 2, 8, limits.batchMaxEvents]));
  let parcels: Parcel[] = [];
  const put = () => {
    if (parcels.length > 0) link.toServer.push({ kind: "events", parcels });
    parcels = [];
  };
  const isBatch = draw.chance(0.6);
  for (let i = 0; i < count; i += 1) {
    const held = isPerson ? draw.pick(waiting) : waiting[i];
    if (held === undefined) break;
    const { item } = held;
    const variant = item.eventId !== "" && draw.chance(isPerson ? 0.1 : 0.02) ? world.workload.vary(item) : 0;
    if (isLone(item)) put(); // alone in its frame, so that its claimed size is its own
    parcels.push(peer.pack(held, variant));
    if (draw.chance(0.04) && !isLone(item)) parcels.push(peer.pack(held, variant));
    if (!isBatch || isLone(item)) put();
  }
  put();
  world.tell(() => `${link.ledger.name} sends ${count} events`);
}

/** Whether an event goes alone into its frame, so that the size it claims is its own. */
const isLone = (item: Item): boolean => item.bytes > 1_000;

/** Opens a stream for a peer; seldom beside one that it has. */
export function connect(world: World, peer: Peer, isBeside = false): void {
  const { draw } = world;
  if (!isBeside && peer.link !== undefined && draw.chance(0.6)) return;
  const coordinator = world.pickCoordinator();
  if (coordinator === undefined) return;
  const link = world.connect(peer, coordinator, draw.weighted({ "1000": 6, "8": 2, "1": 1 }) as unknown as number);
  if (link !== undefined && draw.chance(0.1)) link.session?.warnOfDeadline();
}

function sendFrame(world: World, peer: Peer, name: string, frame: (Link["toServer"][number] & { kind: "frame" })["frame"]): void {
  const { link } = peer;
  if (link === undefined) return;
  link.toServer.push({ kind: "frame", frame });
  world.tell(() => `${link.ledger.name} sends ${name}`);
}

export function halfClose(world: World, peer: Peer, link: Link): void {
  if (link.isHalfClosed) return;
  link.isHalfClosed = true;
  link.toServer.push({ kind: "half_close" });
  world.tell(() => `${link.ledger.name} half-closes`);
  peer.isWelcome = false; // nothing may be sent any more
}

/** Publishes a newer table everywhere, or answers one. */
function route(world: World, peer: Peer): void {
  const nonce = peer.takeNonce();
  if (nonce !== undefined || world.draw.chance(0.2)) {
    const ack = create(RoutingAckSchema, { nonce: nonce ?? "never-given", status: ApplyStatus.APPLIED });
    sendFrame(world, peer, "a routing ack", { case: "routingAck", value: ack });
    return;
  }
  for (const coordinator of world.coordinators) {
    coordinator.routes = {
      term: 1,
      version: (coordinator.routes?.version ?? 0) + 1,
      digest: "00000000000000ff",
      table: [{ mcpId: "mcp-0", weight: 10_000, state: "active", maxConcurrent: 0, priority: 0, why: [] }],
      policyId: "simulated/1",
      reason: "change",
      publishedAtMs: world.clock.nowMs(),
      validForMs: 180_000,
    };
    coordinator.fleet.publish(coordinator.routes);
  }
  world.tell(() => "a table is published");
}

/** A peer renews its key, seldom with one that nobody knows. */
function refresh(world: World, peer: Peer): void {
  const token = world.draw.chance(0.1) ? unknownKey : peer.traits.mcpId;
  sendFrame(world, peer, "a key", { case: "credentialRefresh", value: create(CredentialRefreshSchema, { token }) });
}

/** Other settings for all sessions of a coordinator. */
function reconfigure(world: World): void {
  const coordinator = world.draw.pick(world.coordinators);
  const heartbeatIntervalMs = world.draw.pick([5_000, limits.heartbeatIntervalMs]);
  coordinator.fleet.reconfigure({ ...settingsOfTest, heartbeatIntervalMs, maxEventBytes: limits.eventMaxBytes });
  world.tell(() => `coordinator ${coordinator.number} sets the heartbeat to ${heartbeatIntervalMs} ms`);
}

/** What a peer should not do. */
export function misbehave(world: World, peer: Peer): void {
  const { link } = peer;
  if (link === undefined) return;
  const deed = world.draw.pick(["garbage", "nothing", "hello", "oversize"] as const);
  world.tell(() => `${link.ledger.name} misbehaves: ${deed}`);
  switch (deed) {
    case "garbage":
      link.toServer.push({ kind: "garbage" });
      return;
    case "nothing":
      link.toServer.push({ kind: "frame", frame: { case: undefined } });
      return;
    case "hello":
      link.toServer.push({ kind: "frame", frame: { case: "hello", value: peer.hello() } });
      return;
    case "oversize": {
      const item = world.workload.make("none", peer.traits.mcpId, 0n, world.clock.nowMs());
      const parcel = { item, variant: 0, tag: tagOf(item, 0) };
      link.toServer.push({ kind: "events", parcels: Array.from({ length: limits.batchMaxEvents + 1 }, () => parcel) });
    }
  }
}

/** Sizes of floods: real bytes beyond the queue's bound, claimed bytes beyond two windows, many events, and more than two windows of them. */
const floods = { heavy: 2, bulky: 4, many: 2, endless: 1 } as const;
const floodCounts = { heavy: 36, bulky: 40, many: 600, endless: 2_600 } as const satisfies Record<keyof typeof floods, number>;

/** A peer that heeds no window. */
export function flood(world: World, peer: Peer, size: keyof typeof floods): void {
  const { link } = peer;
  if (link === undefined || !peer.isWelcome) return;
  if (peer.waiting().length > 0) return; // a producer sends in order, even when it floods
  world.tell(() => `${link.ledger.name} floods: ${size}`);
  let parcels: Parcel[] = [];
  for (let i = 0; i < floodCounts[size]; i += 1) {
    const sequence = peer.takeSequence();
    if (sequence === undefined) return;
    const isLarge = size === "heavy" || size === "bulky";
    const item = world.workload.make("none", peer.traits.mcpId, sequence, world.clock.nowMs(), isLarge ? size : undefined);
    parcels.push(peer.pack(peer.hold(item)));
    if (isLarge || parcels.length === limits.batchMaxEvents) {
      link.toServer.push({ kind: "events", parcels });
      parcels = [];
    }
  }
  if (parcels.length > 0) link.toServer.push({ kind: "events", parcels });
}

/** A unary call, which answers within its deadline whatever the store does. */
export function report(world: World, peer: Peer): void {
  const { draw, auditor } = world;
  const coordinator = world.pickCoordinator();
  if (coordinator === undefined) return;
  const { principal, mcpId } = peer.traits;
  const items = Array.from({ length: draw.between(1, 5) }, () => world.workload.make(draw.weighted(flaws), mcpId, 0n, world.clock.nowMs()));
  const bearer = { principal, mcpId, producerId: "", epoch: 0, labels: {}, source: "grpc" } as const;
  const judged = items.flatMap((item) => {
    auditor.delivered(undefined, item, tagOf(item, 0));
    const [event] = item.variants;
    return event === undefined ? [] : [coordinator.ingest.accept(bearer, draftFromProto(event, item.bytes))];
  });
  world.tell(() => `${items.length} events by a unary call at coordinator ${coordinator.number}`);
  void answered(
    world,
    coordinator,
    items.map((item) => tagOf(item, 0)),
    reportOnce(coordinator.ingest, world.clock, judged, patience(draw.chance(0.3))),
  );
}

const patience = (isShort: boolean) => ({ signal: new AbortController().signal, timeoutMs: isShort ? 100 : undefined });

async function answered(
  world: World,
  coordinator: SimCoordinator,
  tags: readonly string[],
  answer: ReturnType<typeof reportOnce>,
): Promise<void> {
  const verdicts = await answer;
  if (coordinator.state === "down") return;
  if (verdicts.length !== tags.length) world.auditor.report(`${tags.length} events of a unary call had ${verdicts.length} verdicts`);
  for (const [i, verdict] of verdicts.entries()) world.auditor.answered(ackToProto(verdict), tags[i] ?? "");
}
