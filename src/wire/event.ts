import { toBinary } from "@bufbuild/protobuf";
import {
  type InteractionEvent,
  InteractionEventSchema,
  type Payload as PayloadMessage,
  type ResourceUsage as ResourceUsageMessage,
} from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Detail, Draft, Json, Payload, ResourceUsage } from "../interaction/event.js";
import { unreachable } from "../platform/assert.js";
import { limits } from "../platform/limits.js";

/**
 * The events of one message as drafts. `messageBytes` is the encoded size of the message that held them. Only when that leaves room for an event that
 * is too large is each one measured by itself; else each is given an equal share.
 */
export function draftsFromProto(events: readonly InteractionEvent[], messageBytes: number): readonly Draft[] {
  if (events.length > 1 && messageBytes > limits.eventMaxBytes) {
    return events.map((event) => draftFromProto(event, toBinary(InteractionEventSchema, event).byteLength));
  }
  const share = Math.ceil(messageBytes / Math.max(1, events.length));
  return events.map((event) => draftFromProto(event, share));
}

/** One event as a draft. `encodedBytes` is its encoded size. */
export function draftFromProto(event: InteractionEvent, encodedBytes: number): Draft {
  return {
    eventId: event.eventId,
    sequence: event.sequence,
    mcpId: event.mcpId,
    interactionId: event.interactionId,
    occurredAt: event.occurredAt,
    parentInteractionId: event.parentInteractionId,
    traceParent: event.traceParent,
    labels: event.labels,
    sessionId: event.sessionId,
    detail: detailFromProto(event.detail),
    encodedBytes,
  };
}

function detailFromProto(detail: InteractionEvent["detail"]): Detail | undefined {
  switch (detail.case) {
    case "start": {
      const value = detail.value;
      return {
        kind: "start",
        requestType: value.requestType,
        userId: value.userId,
        inputBytes: value.inputBytes,
        qualityLevel: value.qualityLevel,
        privacyLevel: value.privacyLevel,
        parameters: value.parameters as Json | undefined, // a decoded Struct is a JSON object
        routingDecisionId: value.routingDecisionId,
        payload: payloadFromProto(value.request),
      };
    }
    case "progress": {
      const value = detail.value;
      return {
        kind: "progress",
        fraction: value.fraction,
        step: value.step,
        message: value.message,
        resourceUsage: usageFromProto(value.resourceUsage),
        payload: payloadFromProto(value.data),
      };
    }
    case "complete": {
      const value = detail.value;
      return {
        kind: "complete",
        success: value.success,
        processingTime: value.processingTime,
        outputBytes: value.outputBytes,
        qualityScore: value.qualityScore,
        confidence: value.confidence,
        adapterUsed: value.adapterUsed,
        stepsExecuted: value.stepsExecuted,
        resourceUsage: usageFromProto(value.resourceUsage),
        payload: payloadFromProto(value.result),
      };
    }
    case "error": {
      const value = detail.value;
      return {
        kind: "error",
        errorType: value.errorType,
        errorCode: value.errorCode,
        errorMessage: value.errorMessage,
        retryable: value.retryable,
        processingTime: value.processingTime,
        resourceUsage: usageFromProto(value.resourceUsage),
        payload: payloadFromProto(value.data),
      };
    }
    case undefined:
      return undefined;
    default:
      return unreachable(detail);
  }
}

function usageFromProto(usage: ResourceUsageMessage | undefined): ResourceUsage | undefined {
  if (usage === undefined) return undefined;
  return { cpuPercent: usage.cpuPercent, memoryBytes: usage.memoryBytes, gpuPercent: usage.gpuPercent };
}

function payloadFromProto(payload: PayloadMessage | undefined): Payload | undefined {
  if (payload === undefined) return undefined;
  const { contentType, body } = payload;
  switch (body.case) {
    case "json":
      return { kind: "json", json: body.value as Json, contentType }; // a decoded Struct is a JSON object
    case "raw":
      return { kind: "raw", raw: body.value, contentType };
    case undefined:
      return { kind: "none", contentType };
    default:
      return unreachable(body);
  }
}
