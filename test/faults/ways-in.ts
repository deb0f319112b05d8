import { create, fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { EventAck } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  InteractionService,
  type ReportInteractionsRequest,
  ReportInteractionsRequestSchema,
  ReportInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import type { EventInit } from "../support/make-event.js";
import { type Audit, audit } from "./audit.js";
import type { EventLedger } from "./ledger.js";
import { keepsCommitTimes, readPage } from "./read-store.js";
import type { Seat, Site } from "./site.js";

/** A way to report a batch: one call. */
export type Way = (mcpId: string, events: readonly EventInit[]) => Promise<readonly EventAck[]>;

export function reportOverGrpc(seat: Seat, key?: string): Way {
  return async (mcpId, events) => {
    const client = openGrpcClient(`127.0.0.1:${seat.port}`);
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const { response, end } = await callUnary(client, InteractionService.method.reportInteractions, requestOf(mcpId, events), headers);
    client.close();
    if (response === undefined) throw new Error(`ReportInteractions ended with ${end.code} ${end.message}`);
    return response.acks;
  };
}

export function reportOverHttp(seat: Seat): Way {
  return async (mcpId, events) => {
    const answer = await fetch(`${seat.webUrl}/${InteractionService.typeName}/ReportInteractions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(toJson(ReportInteractionsRequestSchema, requestOf(mcpId, events))),
    });
    return fromJson(ReportInteractionsResponseSchema, (await answer.json()) as JsonValue).acks;
  };
}

function requestOf(mcpId: string, events: readonly EventInit[]): ReportInteractionsRequest {
  return create(ReportInteractionsRequestSchema, {
    mcpId,
    producerId: mcpId,
    events: events.map((event) => ({ ...event, mcpId: event.mcpId ?? mcpId })),
  });
}

/** Audits one MCP that reported without sessions; its interactions begin with "r-". */
export async function auditAll(site: Site, ledger: EventLedger, mcpId: string): Promise<Audit> {
  const hasCommitTimes = await keepsCommitTimes(site.admin);
  const entries = [...ledger.entries.values()];
  const { rows, interactions } = await readPage(site.admin, [mcpId], "r-", hasCommitTimes);
  return audit(entries, rows, interactions);
}

/** The first coordinator. */
export function seatOf(site: Site): Seat {
  const [seat] = site.seats;
  if (seat === undefined) throw new Error("a site has a coordinator at least");
  return seat;
}
