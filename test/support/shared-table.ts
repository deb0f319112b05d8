import { create, toJson } from "@bufbuild/protobuf";
import type { Sql } from "postgres";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type EventInit, makeEvent } from "./make-event.js";

/** A row as a producer writes it. */
export type ReportRow = { readonly mcpId: string; readonly interactionId: string; readonly data: string };

/** A row that holds an event of now; `more` overrides fields of the event. */
export function reportRow(more: EventInit = {}): ReportRow & { readonly eventId: string } {
  const event = create(InteractionEventSchema, makeEvent({ eventId: mintUuidV7(), ...more }));
  const data = JSON.stringify({ event: toJson(InteractionEventSchema, event) });
  return { mcpId: event.mcpId, interactionId: event.interactionId, eventId: event.eventId, data };
}

/** Inserts rows as docs/shared-table.md says, some hundred with one statement. */
export async function insertReports(sql: Pick<Sql, "unsafe">, rows: readonly ReportRow[]): Promise<void> {
  for (let from = 0; from < rows.length; from += 500) {
    const part = rows.slice(from, from + 500);
    const values = part.map((_, i) => `($${i * 3 + 1}, $${i * 3 + 2}, $${i * 3 + 3}::text::json)`).join(", ");
    const parameters = part.flatMap(({ mcpId, interactionId, data }) => [mcpId, interactionId, data]);
    await sql.unsafe(`INSERT INTO interaction_logs (mcp_id, interaction_id, data) VALUES ${values}`, parameters);
  }
}
