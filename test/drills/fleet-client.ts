/**
 * Part of a large fleet, in a process of its own: sessions as our client has them, each on its own connection, and streams that share connections, as a
 * sidecar for many MCPs would hold them. Each sends one event after each Welcome and keeps its heartbeats. Takes its task as JSON in argv; tells its
 * parent how it stands four times a second.
 */
import { create } from "@bufbuild/protobuf";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { StreamInteractionsResponse } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Capability, HelloSchema } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { type Connection, createConnection, type SessionCall } from "../../src/client/connect.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { heartbeatFrame } from "../../src/client/wire/control.js";
import { encodeControlFrame, encodeEvent, encodeEventFrame } from "../../src/client/wire/frames.js";
import { timestampOf } from "../../src/client/wire/time.js";
import { backoffMs } from "../../src/platform/backoff.js";
import { limits } from "../../src/platform/limits.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";

/** `name` keeps the producers of two processes apart. */
export type FleetTask = {
  readonly target: string;
  readonly name: string;
  /** Sessions with a connection each. */
  readonly alone: number;
  readonly sharedConnections: number;
  readonly streamsPerConnection: number;
  /** Connections are opened over this time. */
  readonly openOverMs: number;
};

/** `up`: streams with a Welcome; `acked`: streams whose event was acknowledged since the last mark; `endings` by status and message. */
export type FleetStanding = { readonly up: number; readonly acked: number; readonly endings: Readonly<Record<string, number>> };

/** The parent begins to count anew. */
export type FleetMark = { readonly kind: "mark" };

const argument = process.argv[2];
if (argument === undefined || process.send === undefined) throw new Error("a fleet client is started by a drill");
const task = JSON.parse(argument) as FleetTask; // written by fleet.ts
const endings: Record<string, number> = {};
const members: { readonly isUp: () => boolean; isAcked: boolean }[] = [];

function ended(code: number, details: string): void {
  const name = `${code}: ${details.replaceAll(/[\d.]+:\d+/g, "<address>").slice(0, 120)}`;
  endings[name] = (endings[name] ?? 0) + 1;
}

function eventOf(index: number) {
  return {
    eventId: mintUuidV7(),
    interactionId: mintUuidV7(),
    mcpId: `${task.name}-${index % 500}`,
    occurredAt: timestampOf(Date.now()),
    detail: { case: "start" as const, value: { requestType: "drill" } },
  };
}

/** A session of our client. */
function addSession(index: number): void {
  let failure: StreamSession["lastFailure"];
  const member = { isUp: () => session.state.kind === "active", isAcked: false };
  const session: StreamSession = createStreamSession({
    endpoint: { target: task.target, key: undefined },
    mcpId: `${task.name}-${index % 500}`,
    onSettled: ({ verdict }) => {
      if (verdict !== "rejected") member.isAcked = true;
    },
    onState: (state) => {
      if (session.lastFailure !== failure) {
        failure = session.lastFailure;
        ended(failure?.code ?? -1, failure?.details ?? "");
      }
      if (state.kind === "active") session.report(eventOf(index));
    },
  });
  members.push(member);
}

/** A stream on a connection that others use too. Reconnects as our client does. */
class SharedStream {
  isAcked = false;
  readonly #connection: Connection;
  readonly #index: number;
  readonly #producerId = mintUuidV7();
  #call: SessionCall | undefined;
  #isWelcome = false;
  #attempt = 0;
  #sequence = 0n;
  #heartbeatId = 0n;

  constructor(connection: Connection, index: number) {
    this.#connection = connection;
    this.#index = index;
    this.#open();
    setInterval(() => this.#beat(), limits.heartbeatIntervalMs);
  }

  isUp(): boolean {
    return this.#isWelcome;
  }

  #open(): void {
    const call = this.#connection.openSession();
    this.#call = call;
    call.on("data", (frame: StreamInteractionsResponse) => this.#receive(call, frame));
    call.on("error", () => undefined); // told by the status
    call.on("status", ({ code, details }) => {
      this.#isWelcome = false;
      this.#call = undefined;
      ended(code, details);
      setTimeout(() => this.#open(), backoffMs(limits.reconnectBackoff, this.#attempt++, Math.random));
    });
    const value = create(HelloSchema, {
      minProtocolVersion: 1,
      maxProtocolVersion: 1,
      mcpId: `${task.name}-${this.#index % 500}`,
      producerId: this.#producerId,
      capabilities: [Capability.HEARTBEAT, Capability.FLOW_CONTROL, Capability.DRAIN],
    });
    call.write(encodeControlFrame({ case: "hello", value }));
  }

  #receive(call: SessionCall, { frame }: StreamInteractionsResponse): void {
    if (frame.case === "welcome") {
      this.#isWelcome = true;
      this.#sequence += 1n;
      call.write(encodeEventFrame([encodeEvent({ ...eventOf(this.#index), sequence: this.#sequence })]));
    } else if (frame.case === "eventAck" && frame.value.status === EventStatus.STORED) {
      this.isAcked = true;
      this.#attempt = 0;
    }
  }

  #beat(): void {
    if (this.#isWelcome) this.#call?.write(heartbeatFrame(++this.#heartbeatId, Date.now(), 0, undefined, []));
  }
}

const connectionCount = task.alone + task.sharedConnections;
for (let index = 0; index < connectionCount; index++) {
  if (index < task.sharedConnections) {
    const connection = createConnection({ target: task.target, key: undefined });
    for (let at = 0; at < task.streamsPerConnection; at++) members.push(new SharedStream(connection, members.length));
  } else addSession(members.length);
  await new Promise((resolve) => setTimeout(resolve, task.openOverMs / connectionCount));
}
process.on("message", (message: FleetMark) => {
  if (message.kind !== "mark") return;
  for (const member of members) member.isAcked = false;
  for (const name of Object.keys(endings)) delete endings[name];
});
process.on("disconnect", () => process.exit(0));
setInterval(() => {
  const standing: FleetStanding = {
    up: members.filter((member) => member.isUp()).length,
    acked: members.filter(({ isAcked }) => isAcked).length,
    endings,
  };
  process.send?.(standing);
}, 250);
