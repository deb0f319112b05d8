import { boundMcpId, mayActFor, type Principal } from "../auth/principal.js";
import type { Bearer } from "../ingest/accept.js";
import { checkLabels, checkText } from "../interaction/check.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { type ProducerOpened, StoreFault } from "../store/store.js";
import type { CapabilityName, Greeting, Welcome } from "../wire/frame.js";
import type { SessionSettings } from "../wire/session-terms.js";
import type { OpenProducer } from "./surroundings.js";
import type { Promises } from "./traffic.js";

/** The protocol versions this coordinator speaks. */
export const protocolVersions = { min: 1, max: 1 } as const;

/**
 * Judges a Hello before anything is asked of the store.
 * Errors: `failed_precondition` without a common version, `invalid` naming each field, `forbidden` for another MCP than the credential's.
 */
export function checkGreeting(greeting: Greeting, principal: Principal): CoordinatorError | undefined {
  if (greeting.minVersion > protocolVersions.max || greeting.maxVersion < protocolVersions.min) {
    return new CoordinatorError("failed_precondition", "no common protocol version", {
      reason: "UNSUPPORTED_VERSION",
      metadata: { min: String(protocolVersions.min), max: String(protocolVersions.max) },
    });
  }
  const fields: FieldFault[] = [];
  const report = (field: string, reason: string, description: string) => {
    if (fields.length < limits.violationMaxCount) fields.push({ field, reason, description });
  };
  checkText(greeting.mcpId, "hello.mcp_id", report);
  checkText(greeting.producerId, "hello.producer_id", report);
  checkText(greeting.instanceVersion, "hello.instance_version", report);
  checkText(greeting.resumeSessionId, "hello.resume_session_id", report);
  checkLabels(greeting.labels, "hello.labels", report);
  if (greeting.firstUnackedSequence >= 2n ** 63n) report("hello.first_unacked_sequence", "OUT_OF_RANGE", "must be below 2^63");
  if (fields.length > 0) return new CoordinatorError("invalid", "Hello breaks a rule", { reason: "FIELD_VIOLATION", fields });
  if (greeting.mcpId !== "" && !mayActFor(principal, greeting.mcpId)) {
    const message = `this key may not act for mcp_id "${greeting.mcpId}"`;
    return new CoordinatorError("forbidden", message, { reason: "MCP_NOT_ALLOWED" });
  }
  return undefined;
}

/** Who brings the events of a session without Hello. */
export function anonymousBearer(principal: Principal): Bearer {
  return { principal, mcpId: boundMcpId(principal) ?? "", producerId: "", epoch: 0, labels: {}, source: "grpc" };
}

/** Who brings the events of a session with Hello. `epoch` is what the store gave, 0 without a producer. */
export function greetedBearer(principal: Principal, greeting: Greeting, epoch: number): Bearer {
  const labels = greeting.instanceVersion === "" ? greeting.labels : { mcp_version: greeting.instanceVersion, ...greeting.labels };
  const mcpId = greeting.mcpId === "" ? (boundMcpId(principal) ?? "") : greeting.mcpId;
  return { principal, mcpId, producerId: greeting.producerId, epoch, labels, source: "grpc" };
}

/** What the session machine needs to know of a Hello. */
export function promisesOf(capabilities: ReadonlySet<CapabilityName>): Promises {
  return {
    heartbeat: capabilities.has("heartbeat"),
    flowControl: capabilities.has("flow_control"),
    drain: capabilities.has("drain"),
  };
}

/** What a Welcome says that follows from who greeted: the producer's place and what is in force between the two. */
export function welcomeOf(
  greeting: Greeting,
  principal: Principal,
  opened: ProducerOpened | undefined,
  settings: SessionSettings,
): Pick<Welcome, "producerEpoch" | "resumeAfterSequence" | "resumeStatus" | "capabilities" | "authenticatedMcpId" | "settings"> {
  return {
    settings,
    producerEpoch: opened?.epoch ?? 0,
    resumeAfterSequence: opened?.resumeSequence ?? 0n,
    resumeStatus: resumeStatusOf(opened, greeting.firstUnackedSequence, settings.dedupeHorizonMs),
    capabilities: greeting.capabilities,
    authenticatedMcpId: boundMcpId(principal) ?? "",
  };
}

/**
 * What is known of a producer. "too_old": it was silent for longer than the dedupe horizon and still holds events that were resolved before: those are
 * older than the horizon, so their repetition would be refused, and retention, which is never shorter than the horizon, may have dropped the first.
 */
function resumeStatusOf(
  opened: ProducerOpened | undefined,
  firstUnackedSequence: bigint,
  dedupeHorizonMs: number,
): Welcome["resumeStatus"] {
  if (opened === undefined) return "none";
  if (!opened.isKnown) return firstUnackedSequence > 1n ? "unknown_producer" : "new";
  const holdsResolved = firstUnackedSequence > 0n && firstUnackedSequence <= opened.resumeSequence;
  return holdsResolved && opened.silentMs > dedupeHorizonMs ? "too_old" : "resumed";
}

/** What the store says of the producer of a Hello; `opened` is undefined for a session without one. */
export type Opening =
  | { readonly kind: "opened"; readonly opened: ProducerOpened | undefined }
  | { readonly kind: "refused"; readonly error: CoordinatorError };

/** Asks the store for the epoch and the resume point of a Hello's producer, unless its session has ended before the store is reached. Never rejects. */
export async function askForProducer(
  openProducer: OpenProducer,
  greeting: Greeting,
  principal: Principal,
  session: { readonly id: string; readonly isClosed: boolean },
): Promise<Opening> {
  const { producerId } = greeting;
  if (producerId === "") return { kind: "opened", opened: undefined };
  try {
    const opened = await openProducer(producerId, greetedBearer(principal, greeting, 0).mcpId, session.id, () => !session.isClosed);
    return opened === undefined ? { kind: "refused", error: foreignProducer(producerId) } : { kind: "opened", opened };
  } catch (thrown) {
    // The loop's edge: the peer reconnects, and finds its place again.
    return { kind: "refused", error: openingError(thrown) };
  }
}

/** What a peer hears that names a producer of another MCP: its epoch is not this peer's to bump. */
function foreignProducer(producerId: string): CoordinatorError {
  return new CoordinatorError("forbidden", `producer_id "${producerId}" belongs to another MCP`, { reason: "PRODUCER_NOT_ALLOWED" });
}

/** What a peer hears when its session could not be opened. */
function openingError(thrown: unknown): CoordinatorError {
  if (!(thrown instanceof StoreFault)) return CoordinatorError.from(thrown);
  return new CoordinatorError("unavailable", "the store cannot be reached", {
    reason: "STORE_UNAVAILABLE",
    retryAfterMs: limits.storeBackoff.maxMs,
    cause: thrown,
  });
}
