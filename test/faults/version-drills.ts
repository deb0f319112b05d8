import { readFileSync } from "node:fs";
import { create, createFileRegistry, type DescMessage, fromBinary, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { StreamInteractionsRequestSchema, StreamInteractionsResponseSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { type Audit, addAudits, claim } from "./audit.js";
import type { Drill, DrillContext } from "./fault.js";
import { statusName } from "./ledger.js";
import { plannedId } from "./plan.js";
import { seatOf } from "./ways-in.js";

/** Of no enum value that this version knows. */
const unknownNumber: number = 999;

/** Field 1000, three bytes: as a field of a message or, by itself, as a frame of which this version knows nothing. */
const unknownField = Buffer.from([0xc2, 0x3e, 3, 1, 2, 3]);

/** Peers that speak another version of the contract. */
export const versionDrills: readonly Drill[] = [
  {
    kind: "drill",
    id: "F29",
    title: "version skew: a client of the frozen contract, and one from the future",
    run: async (context) => {
      const client = openGrpcClient(`127.0.0.1:${seatOf(context.site).port}`);
      const audit = addAudits(await playOld(context, new RawStream(client)), await playFuture(context, new RawStream(client)));
      client.close();
      const what = "50 events from the frozen contract; unknown frame, fields, capability, ack mode and version from the future";
      return { what, injected: 6, acked: 51, audit };
    },
  },
];

/** A client that was generated from the contract as it was frozen. */
async function playOld({ rng, seed }: DrillContext, stream: RawStream): Promise<Audit> {
  const frozen = createFileRegistry(
    fromBinary(FileDescriptorSetSchema, readFileSync(new URL("../../.ci/contract-v0.1.0.binpb", import.meta.url))),
  );
  const schemaOf = (name: string): DescMessage => {
    const found = frozen.getMessage(`mcp.coordinator.v1.${name}`);
    if (found === undefined) throw new Error(`the frozen contract has no ${name}`);
    return found;
  };
  const requestSchema = schemaOf("StreamInteractionsRequest");
  const send = (json: JsonValue): boolean => stream.sendBytes(toBinary(requestSchema, fromJson(requestSchema, json)));
  const capabilities = ["CAPABILITY_FLOW_CONTROL", "CAPABILITY_ROUTING", "CAPABILITY_DRAIN"];
  send({ hello: { mcpId: "old", producerId: `old-${seed}`, capabilities, ackMode: "ACK_MODE_COALESCED" } });
  for (let sequence = 1; sequence <= 50; sequence += 1) {
    const names = { eventId: plannedId(rng, Date.now()), interactionId: `old-${sequence}`, sequence: String(sequence) };
    send({ event: { ...names, occurredAt: new Date().toISOString(), start: { requestType: "search" } } });
  }
  await stream.until((frames) => frames.find((frame) => frame.case === "eventAckBatch" && frame.value.resolvedThroughSequence === 50n));
  // It promised nothing new, so it must have been sent nothing new.
  const unread = stream.frames.filter((frame) => {
    const response = create(StreamInteractionsResponseSchema);
    response.frame = frame;
    return fromBinary(schemaOf("StreamInteractionsResponse"), toBinary(StreamInteractionsResponseSchema, response)).$unknown !== undefined;
  });
  stream.halfClose();
  const { code } = await stream.ended;
  return addAudits(
    claim("I1", unread.length === 0 ? undefined : `${unread.length} frames are unknown to the frozen contract`, stream.frames.length),
    claim("I8", code === 0 ? undefined : `the old client ended with ${code}`),
  );
}

/** A client that says much which this version does not know. */
async function playFuture({ rng, seed }: DrillContext, stream: RawStream): Promise<Audit> {
  const capabilities = [unknownNumber, Capability.FLOW_CONTROL];
  const value = { mcpId: "future", producerId: `future-${seed}`, maxProtocolVersion: 99, ackMode: unknownNumber, capabilities };
  const hello = create(StreamInteractionsRequestSchema, { frame: { case: "hello", value } });
  stream.sendBytes(Buffer.concat([toBinary(StreamInteractionsRequestSchema, hello), unknownField]));
  const welcome = await stream.first("welcome");
  stream.sendBytes(unknownField);
  stream.send({
    case: "event",
    value: makeEvent({ mcpId: "future", interactionId: "f", sequence: 1n, eventId: plannedId(rng, Date.now()) }),
  });
  const [ack] = await stream.untilAcks(1);
  const isNoticed = stream.frames.some((frame) => frame.case === "serverNotice");
  const { protocolVersion } = welcome.value;
  stream.halfClose();
  const { code } = await stream.ended;
  const claims = [
    claim("I1", ack?.status === EventStatus.STORED ? undefined : `the future client's event met ${statusName(ack?.status ?? 0)}`),
    claim("I8", isNoticed ? undefined : "an unknown frame was not noticed"),
    claim("I8", protocolVersion >= 1 && protocolVersion < 99 ? undefined : `version ${protocolVersion} was agreed upon`),
    claim("I8", code === 0 ? undefined : `the future client ended with ${code}`),
  ];
  return claims.reduce(addAudits);
}
