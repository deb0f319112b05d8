import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  InteractionService,
  ReportInteractionsRequestSchema,
  VerifyEventsRequestSchema,
} from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";

/** Paths of the unary RPCs on the web port. Source: the Connect protocol, "Unary-Request". */
export const reportPath = `/${InteractionService.typeName}/${InteractionService.method.reportInteractions.name}`;
export const verifyPath = `/${InteractionService.typeName}/${InteractionService.method.verifyEvents.name}`;

const eventsField = ReportInteractionsRequestSchema.field.events.number;

/** A ReportInteractionsRequest of events that are encoded already. */
export function encodeReportRequest(mcpId: string, events: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.raw(toBinary(ReportInteractionsRequestSchema, create(ReportInteractionsRequestSchema, { mcpId })));
  for (const event of events) writer.tag(eventsField, WireType.LengthDelimited).bytes(event);
  return writer.finish();
}

/** Asks for nothing: whoever answers is a coordinator, and takes the key. */
export const encodeEmptyVerify = (mcpId: string): Uint8Array<ArrayBuffer> =>
  toBinary(VerifyEventsRequestSchema, create(VerifyEventsRequestSchema, { mcpId }));
