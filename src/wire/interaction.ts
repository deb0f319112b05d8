import { create } from "@bufbuild/protobuf";
import {
  type Interaction as InteractionProto,
  InteractionSchema,
  InteractionState as InteractionStateProto,
} from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Interaction, InteractionState } from "../interaction/event.js";
import { durationFromMs, timestampFromUs } from "./time.js";

/** A state as the domain spells it, and its number on the wire. A state that is missing here does not compile. */
export const stateToProto = {
  started: InteractionStateProto.STARTED,
  running: InteractionStateProto.RUNNING,
  completed: InteractionStateProto.COMPLETED,
  failed: InteractionStateProto.FAILED,
} as const satisfies Record<InteractionState, InteractionStateProto>;

/** A state of the wire as the domain spells it. A state that the contract gains does not compile until it stands here. */
const stateByProto = {
  [InteractionStateProto.UNSPECIFIED]: undefined,
  [InteractionStateProto.STARTED]: "started",
  [InteractionStateProto.RUNNING]: "running",
  [InteractionStateProto.COMPLETED]: "completed",
  [InteractionStateProto.FAILED]: "failed",
} as const satisfies Record<InteractionStateProto, InteractionState | undefined>;

/** What a request's state asks for: `any` for unspecified, `unknown` for a number that this version does not know. */
export function parseState(state: InteractionStateProto): InteractionState | "any" | "unknown" {
  if (state === InteractionStateProto.UNSPECIFIED) return "any";
  return stateByProto[state] ?? "unknown"; // open enum: a newer peer may send any number
}

/** The merged interaction as a message. */
export function interactionToProto(interaction: Interaction): InteractionProto {
  const message = create(InteractionSchema);
  message.mcpId = interaction.mcpId;
  message.interactionId = interaction.interactionId;
  message.state = stateToProto[interaction.state];
  if (interaction.startedAtUs !== undefined) message.startedAt = timestampFromUs(interaction.startedAtUs);
  if (interaction.endedAtUs !== undefined) message.endedAt = timestampFromUs(interaction.endedAtUs);
  message.lastEventAt = timestampFromUs(interaction.lastEventAtUs);
  message.eventCount = interaction.eventCount;
  message.missingStart = interaction.missingStart;
  message.conflictingTerminal = interaction.conflictingTerminal;
  message.lateEvents = interaction.lateEvents;
  message.requestType = interaction.requestType;
  message.userPseudonym = interaction.userPseudonym;
  message.sessionId = interaction.sessionId;
  if (interaction.durationMs !== undefined) message.processingTime = durationFromMs(interaction.durationMs);
  if (interaction.success !== undefined) message.success = interaction.success;
  if (interaction.qualityScore !== undefined) message.qualityScore = interaction.qualityScore;
  message.errorCode = interaction.errorCode;
  message.adapterUsed = interaction.adapterUsed;
  return message;
}
