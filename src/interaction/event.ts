import { CoordinatorError } from "../platform/errors.js";

export type McpId = string & { readonly __brand: "McpId" };
export type InteractionId = string & { readonly __brand: "InteractionId" };

/** A JSON value as it comes from a payload. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A point in time as the wire gives it: seconds since the Unix epoch and nanoseconds 0..999,999,999. */
export type Instant = { readonly seconds: bigint; readonly nanos: number };

export type EventKind = "start" | "progress" | "complete" | "error";

/** Content that is stored and given back, never interpreted. */
export type Payload =
  | { readonly kind: "none"; readonly contentType: string }
  | { readonly kind: "json"; readonly json: Json; readonly contentType: string }
  | { readonly kind: "raw"; readonly raw: Uint8Array; readonly contentType: string };

export type ResourceUsage = {
  readonly cpuPercent: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly gpuPercent: number | undefined;
};

/** A signed length of time as the wire gives it. */
export type Span = { readonly seconds: bigint; readonly nanos: number };

export type Detail =
  | {
      readonly kind: "start";
      readonly requestType: string;
      readonly userId: string;
      readonly inputBytes: bigint;
      readonly qualityLevel: string;
      readonly privacyLevel: string;
      readonly parameters: Json | undefined;
      readonly routingDecisionId: string;
      readonly payload: Payload | undefined;
    }
  | {
      readonly kind: "progress";
      readonly fraction: number;
      readonly step: string;
      readonly message: string;
      readonly resourceUsage: ResourceUsage | undefined;
      readonly payload: Payload | undefined;
    }
  | {
      readonly kind: "complete";
      readonly success: boolean | undefined;
      readonly processingTime: Span | undefined;
      readonly outputBytes: bigint;
      readonly qualityScore: number | undefined;
      readonly confidence: number | undefined;
      readonly adapterUsed: string;
      readonly stepsExecuted: readonly string[];
      readonly resourceUsage: ResourceUsage | undefined;
      readonly payload: Payload | undefined;
    }
  | {
      readonly kind: "error";
      readonly errorType: string;
      readonly errorCode: string;
      readonly errorMessage: string;
      readonly retryable: boolean;
      readonly processingTime: Span | undefined;
      readonly resourceUsage: ResourceUsage | undefined;
      readonly payload: Payload | undefined;
    };

/** An event as a peer sent it: typed, not yet judged. Empty strings mean absent. */
export type Draft = {
  readonly eventId: string;
  readonly sequence: bigint;
  readonly mcpId: string;
  readonly interactionId: string;
  readonly occurredAt: Instant | undefined;
  readonly parentInteractionId: string;
  readonly traceParent: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sessionId: string;
  readonly detail: Detail | undefined;
  /** Length of the encoded event. */
  readonly encodedBytes: number;
};

/** What the merged interaction and the router read of an event without opening its body. */
export type Facts =
  | {
      readonly kind: "start";
      readonly requestType: string;
      readonly sessionId: string;
      readonly userPseudonym: string;
      /** The decision that sent the request here; empty when nobody asked the router. */
      readonly routingDecisionId: string;
      readonly inputBytes: number;
      readonly qualityLevel: string;
      readonly privacyLevel: string;
    }
  | { readonly kind: "progress" }
  | {
      readonly kind: "terminal";
      readonly success: boolean;
      readonly durationMs: number | undefined;
      readonly qualityScore: number | undefined;
      readonly errorCode: string;
      readonly adapterUsed: string;
    };

/** How an event came in; stored with it. */
export type Source = "grpc" | "http" | "redis" | "table";

/** An event that may be committed: checked, owned, pseudonymised. */
export type NewEvent = {
  /** Canonical UUID version 7. */
  readonly eventId: string;
  readonly mcpId: McpId;
  readonly interactionId: InteractionId;
  /** Empty when the producer gave none. */
  readonly producerId: string;
  /** Fencing token of the producer's session; 0 means not fenced. */
  readonly epoch: number;
  /** 0 means unsequenced. */
  readonly sequence: bigint;
  /** How far the producer's resume point goes when this is stored: to its sequence, or less far while an earlier event was refused for now. */
  readonly resumeSequence: bigint;
  readonly kind: EventKind;
  /** Microseconds since the Unix epoch. */
  readonly occurredAtUs: number;
  /** First 128 bits of the content hash, as 32 hex digits. */
  readonly digest: string;
  /** The content as JSON text; see content.ts. */
  readonly body: string;
  readonly raw: Uint8Array | undefined;
  readonly facts: Facts;
  readonly source: Source;
  /** Length of the event as it was encoded; counts against the window of its stream. */
  readonly encodedBytes: number;
  /** What the event costs in memory and on the way to the store, roughly; counts against the bounds of the queue. */
  readonly costBytes: number;
};

/** What became of one event at the store. */
export type Outcome =
  | { readonly kind: "stored"; readonly storedAtMs: number }
  | { readonly kind: "duplicate"; readonly storedAtMs: number }
  /** Other content has the id; `storedDigest` and `storedAtMs` are that of it. */
  | { readonly kind: "conflict"; readonly storedDigest: string; readonly storedAtMs: number }
  | { readonly kind: "fenced" }
  | { readonly kind: "poison"; readonly description: string };

export type InteractionState = "started" | "running" | "completed" | "failed";

/** The merged state of one interaction. Times in microseconds since the Unix epoch. */
export type Interaction = {
  readonly mcpId: McpId;
  readonly interactionId: InteractionId;
  readonly state: InteractionState;
  readonly startedAtUs: number | undefined;
  readonly endedAtUs: number | undefined;
  readonly lastEventAtUs: number;
  readonly eventCount: number;
  readonly missingStart: boolean;
  readonly conflictingTerminal: boolean;
  readonly lateEvents: boolean;
  readonly requestType: string;
  readonly userPseudonym: string;
  readonly sessionId: string;
  readonly durationMs: number | undefined;
  readonly success: boolean | undefined;
  readonly qualityScore: number | undefined;
  readonly errorCode: string;
  readonly adapterUsed: string;
};

/** Turns a name that passed `check` into its brand. */
export function parseMcpId(text: string): McpId {
  if (text === "") throw new CoordinatorError("invalid", "mcp_id is empty", { reason: "FIELD_VIOLATION" });
  return text as McpId;
}

/** Turns a name that passed `check` into its brand. */
export function parseInteractionId(text: string): InteractionId {
  if (text === "") throw new CoordinatorError("invalid", "interaction_id is empty", { reason: "FIELD_VIOLATION" });
  return text as InteractionId;
}
