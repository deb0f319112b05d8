import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { limits } from "../../src/platform/limits.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { type FrameInit, RawStream } from "../support/raw-stream.js";
import { claim } from "./audit.js";
import { type DatabaseLink, startDatabaseLink } from "./database-link.js";
import { DeafPeers, type DeafStream } from "./deaf-peers.js";
import type { Drill } from "./fault.js";
import { probeFile, sleep } from "./site.js";

const key = "key-of-the-edges-00001";
const bearer = { authorization: `Bearer ${key}` };
/** A key that is there until the first change of the configuration. */
const spareKey = "key-of-the-edges-00002";
/** More frames than a call keeps for a peer that takes nothing. */
const frameCount = 24;
/** For what was sent to arrive and to be answered. Unit: ms. */
const settleMs = 500;
const { DRAIN, FLOW_CONTROL } = Capability;

/** A coordinator of its own, whose sessions are brought to each phase and met there by whatever can happen to them. */
type Stage = {
  readonly coordinator: RunningCoordinator;
  readonly link: DatabaseLink;
  readonly open: () => RawStream;
  /** The same with the spare key. */
  readonly openSpare: () => RawStream;
  readonly deaf: DeafPeers;
  /** Other settings of sessions, in force at once; the spare key is gone then. */
  readonly configure: (heartbeatSeconds: number, maxAgeSeconds: number) => void;
};

let nextId = 0;
const hello = (producerId: string, capabilities: readonly Capability[] = [DRAIN, FLOW_CONTROL], resumeSessionId = ""): FrameInit => ({
  case: "hello",
  value: { mcpId: "edges", producerId, capabilities: [...capabilities], resumeSessionId },
});
const event = (): FrameInit => {
  nextId += 1;
  return { case: "event", value: makeEvent({ mcpId: "edges", interactionId: `edge-${nextId}`, sequence: BigInt(nextId) }) };
};
/** An event nearly as large as one may be. Unit: bytes. */
const bulkBytes = 250_000;
const bulk = (): FrameInit => {
  nextId += 1;
  const request = { body: { case: "raw", value: new Uint8Array(bulkBytes) } } as const;
  const detail = { case: "start", value: { requestType: "bulk", request } } as const;
  return { case: "event", value: makeEvent({ mcpId: "edges", interactionId: `edge-${nextId}`, sequence: BigInt(nextId), detail }) };
};
const heartbeat: FrameInit = { case: "heartbeat", value: { id: 1n } };
const refresh: FrameInit = { case: "credentialRefresh", value: { token: key } };
const heartbeats = (count: number): readonly FrameInit[] => Array.from({ length: count }, () => heartbeat);

/** What no other fault does to a session: see it off at every edge of the table in hub/SPEC.md. */
export const edgeDrills: readonly Drill[] = [
  {
    kind: "drill",
    id: "F30",
    title: "sessions in every phase meet an outage, new settings, fencing, age, a shutdown and peers that take nothing",
    run: async ({ site, seed }) => {
      const scratch = mkdtempSync(join(tmpdir(), "mcpc-edges-"));
      const databaseUrl = await site.server.createDatabase(`edges_${seed}`);
      await using link = await startDatabaseLink(site.server.port);
      const file = join(scratch, "config.toml");
      writeFileSync(file, configOf(15, 3_600, [key, spareKey]));
      const coordinator = await startCoordinatorProcess({
        databaseUrl: databaseUrl.replace(`:${site.server.port}/`, `:${link.port}/`),
        env: { NODE_OPTIONS: `--import=${probeFile}`, MCPC_SERVER__DRAIN_SECONDS: "8" },
        flags: ["--config", file],
      });
      const client = openGrpcClient(coordinator.target);
      using deaf = new DeafPeers(coordinator.target, bearer);
      const configure = (heartbeatSeconds: number, maxAgeSeconds: number): void => {
        writeFileSync(file, configOf(heartbeatSeconds, maxAgeSeconds, [key]));
        coordinator.signal("SIGHUP");
      };
      const open = () => new RawStream(client, bearer);
      const openSpare = () => new RawStream(client, { authorization: `Bearer ${spareKey}` });
      const stage: Stage = { coordinator, link, deaf, configure, open, openSpare };
      try {
        await meetSilence(stage);
        await meetFencing(stage);
        await meetAge(stage);
        const exit = await meetShutdown(stage);
        const what = "sessions in every phase met silence, an outage, new settings, fencing, age and a shutdown";
        return { what, injected: 6, audit: claim("I8", exit === 0 ? undefined : `the coordinator ended with ${exit} after SIGTERM`) };
      } finally {
        client.close();
        await coordinator.stop();
        rmSync(scratch, { recursive: true, force: true });
      }
    },
  },
];

function configOf(heartbeatSeconds: number, maxAgeSeconds: number, keys: readonly string[]): string {
  const session = `[session]\nheartbeat_interval_seconds = ${heartbeatSeconds}\nmax_age_seconds = ${maxAgeSeconds}\n`;
  const tables = keys.map((one, index) => {
    const sha256 = createHash("sha256").update(one).digest("hex");
    return `[[auth.keys]]\nid = "edges-${index}"\nmcp_id = "edges"\nsha256 = "${sha256}"\n`;
  });
  return session + tables.join("");
}

async function welcomed(
  stage: Stage,
  producerId: string,
  capabilities?: readonly Capability[],
): Promise<{ stream: RawStream; id: string }> {
  const stream = stage.open();
  stream.send(hello(producerId, capabilities));
  const { value } = await stream.first("welcome");
  return { stream, id: value.sessionId };
}

/**
 * Peers that say nothing, nothing allowed, or listen to nothing, until they are ended; others are met by an outage and new settings meanwhile: one flushes with a key that is taken away.
 */
async function meetSilence(stage: Stage): Promise<void> {
  const { link, deaf, open } = stage;
  const mute = open();
  const bare = open();
  bare.send(heartbeat);
  const twice = await welcomed(stage, "twice");
  twice.stream.send(hello("twice"));
  await twice.stream.ended;
  const renewed = await welcomed(stage, "renewed");
  renewed.stream.send(refresh);
  await renewed.stream.first("credentialRefreshAck");
  // Two that take nothing: one is ended for it, the other has ended and does not take even that.
  deaf.open().send(hello("slow"), ...heartbeats(frameCount));
  deaf.open().send(hello("over"), ...heartbeats(frameCount), hello("over"));
  const flushing = await welcomed(stage, "flushing");
  const revoked = stage.openSpare();
  revoked.send(hello("revoked"));
  await revoked.first("welcome");
  await sleep(settleMs);
  link.set("hold");
  // More than one statement takes, so that it goes on to flush after the first verdicts.
  for (let sent = 0; sent <= limits.commitMaxBytes / bulkBytes; sent += 1) flushing.stream.send(bulk());
  revoked.send(event());
  await sleep(settleMs);
  flushing.stream.halfClose();
  revoked.halfClose();
  const opening = open();
  opening.send(hello("opening"));
  await sleep(settleMs);
  stage.configure(14, 3_600);
  // Until statements time out and the windows say that the store is away.
  await sleep(limits.helloMaxMs + 2_000);
  await mute.ended;
  const late = open();
  await late.headers;
  link.reset();
  link.set("pass");
  await Promise.all([flushing.stream.ended, opening.ended, revoked.ended]);
  await sleep(limits.slowConsumerMaxMs * 2 + 3_000 - limits.helloMaxMs);
  const wordless = open();
  await wordless.headers;
  for (const stream of [bare, renewed.stream, late, wordless]) stream.halfClose();
  await wordless.ended;
}

/** Older sessions with nothing and with something under way, with and without DrainNotice, and with any number of frames that nobody takes. */
async function meetFencing(stage: Stage): Promise<void> {
  const { link, open } = stage;
  using deaf = new DeafPeers(stage.coordinator.target, bearer);
  const idle = await welcomed(stage, "idle", []);
  const busy = await welcomed(stage, "busy", []);
  const flood = await welcomed(stage, "flood", [DRAIN]);
  const crowds: DeafStream[] = [];
  const fillers = Array.from({ length: frameCount }, (_, count) => count);
  for (const count of fillers) {
    const stream = deaf.open();
    stream.send(hello(`full-${count}`), ...heartbeats(count));
    crowds.push(stream);
  }
  // One that has ended and one that flushes listen again.
  using waking = new DeafPeers(stage.coordinator.target, bearer);
  waking.open().send(hello("woken-over"), ...heartbeats(frameCount), hello("woken-over"));
  const woken = waking.open();
  woken.send(hello("woken"), ...heartbeats(frameCount));
  // The same as before, but with an event under way when they half-close: the last ack may be the frame that is too many.
  const leaving = fillers.map((count) => {
    const stream = deaf.open();
    stream.send(hello(`leaving-${count}`), ...heartbeats(count));
    return stream;
  });
  await sleep(settleMs);
  link.set("hold");
  busy.stream.send(event());
  woken.send(event());
  woken.halfClose();
  for (const stream of leaving) {
    stream.send(event());
    stream.halfClose();
  }
  await sleep(settleMs);
  const newer = open();
  newer.send(hello("busy", [], busy.id));
  await sleep(settleMs);
  waking.listen();
  await sleep(settleMs);
  // More bytes than it may send: it is read again once enough of them are settled.
  for (let sent = 0; sent <= (limits.windowPauseFactor * limits.windowMaxBytes) / bulkBytes; sent += 1) flood.stream.send(bulk());
  await sleep(settleMs);
  link.set("pass");
  await busy.stream.ended;
  const fences = [open()];
  fences[0]?.send(hello("idle"));
  for (const count of fillers) {
    const stream = open();
    stream.send(hello(`full-${count}`));
    fences.push(stream);
  }
  await Promise.all([idle.stream.ended, ...fences.map((stream) => stream.first("welcome"))]);
  await sleep(settleMs);
  deaf.listen();
  await sleep(settleMs);
  for (const stream of [newer, flood.stream, ...fences]) stream.halfClose();
}

/** Sessions that are too old, and go on: they send, say Hello again, stop listening, are fenced, or break off. */
async function meetAge(stage: Stage): Promise<void> {
  const { link } = stage;
  using deaf = new DeafPeers(stage.coordinator.target, bearer);
  const old = await Promise.all(
    ["again", "garbage", "sender", "leaver", "fenced"].map(async (name) => (await welcomed(stage, `old-${name}`)).stream),
  );
  const [again, garbage, sender, leaver, fenced] = old;
  const stalled = deaf.open();
  stalled.send(hello("old-stalled"));
  stage.configure(14, 10);
  await Promise.all(old.map((stream) => stream.first("drainNotice")));
  stage.configure(15, 3_600);
  await sleep(settleMs);
  stalled.send(...heartbeats(frameCount));
  again?.send(hello("old-again"));
  garbage?.sendBytes(Buffer.from([0xff, 0xff, 0xff]));
  leaver?.halfClose();
  link.set("hold");
  sender?.send(event());
  sender?.send(heartbeat);
  sender?.send(refresh);
  await sleep(limits.helloMaxMs + 2_000);
  link.reset();
  link.set("pass");
  await sleep(3_000);
  deaf.listen();
  const newer = stage.open();
  newer.send(hello("old-fenced"));
  await Promise.all([fenced?.ended, newer.first("welcome")]);
  newer.halfClose();
  sender?.halfClose();
  await sleep(settleMs);
}

/** SIGTERM while sessions greet, are opened, live, drain already, flush, and have ended without their peer taking it, and the store does not answer until the grace is over. */
async function meetShutdown(stage: Stage): Promise<number | NodeJS.Signals> {
  const { coordinator, link, open } = stage;
  using deaf = new DeafPeers(coordinator.target, bearer);
  const staying = await welcomed(stage, "staying");
  const simple = await welcomed(stage, "simple", []);
  const flushing = await welcomed(stage, "flushing-at-last");
  const aged = await welcomed(stage, "aged");
  stage.configure(14, 10);
  await Promise.all([aged.stream.first("drainNotice"), staying.stream.first("drainNotice")]);
  stage.configure(15, 3_600);
  await sleep(settleMs);
  const fresh = await welcomed(stage, "fresh");
  deaf.open().send(hello("over-at-last"), ...heartbeats(frameCount), hello("over-at-last"));
  await sleep(settleMs);
  link.set("hold");
  const greeting = open();
  await greeting.headers;
  const opening = open();
  opening.send(hello("opening-at-last"));
  for (const { stream } of [simple, flushing]) stream.send(event());
  await sleep(settleMs);
  flushing.stream.halfClose();
  await sleep(settleMs);
  coordinator.signal("SIGTERM");
  const exit = await coordinator.exited;
  await Promise.all([greeting.ended, opening.ended, fresh.stream.ended]);
  return exit;
}
