import { EventStatusSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { retryableByStatus } from "../../../src/ingest/verdict.js";
import { errorReasons, errorTable } from "../../../src/platform/errors.js";
import { errorDomain } from "../../../src/rpc/status.js";

/** Canonical names of gRPC status numbers. Source: google/rpc/code.proto. */
const grpcNames: Readonly<Record<number, string>> = {
  3: "INVALID_ARGUMENT",
  4: "DEADLINE_EXCEEDED",
  5: "NOT_FOUND",
  6: "ALREADY_EXISTS",
  7: "PERMISSION_DENIED",
  8: "RESOURCE_EXHAUSTED",
  9: "FAILED_PRECONDITION",
  11: "OUT_OF_RANGE",
  13: "INTERNAL",
  14: "UNAVAILABLE",
  16: "UNAUTHENTICATED",
};

const retryWords = { never: "no", later: "yes, after the delay", if_idempotent: "yes, when repeating does no harm" } as const;

/** What a verdict says, beside whether to send again. Whoever adds a status to the contract adds its sentence here, or this does not compile. */
const verdictMeanings = {
  stored: "committed by this request",
  duplicate: "committed earlier, with the same content: success",
  invalid: "the event breaks a rule; `violations` name the fields",
  too_large: "larger than `max_event_bytes`",
  too_old: "older than `dedupe_horizon`: a repetition could not be recognised",
  clock_skew: "its time lies in the future; `retryable` is false when the lead is more than a day",
  conflict: "another content is stored under this id; read it, then decide",
  permission_denied: "the key may not report for this `mcp_id`",
  fenced: "a newer session owns the `producer_id`: end this session",
  overloaded: "no room now; on streams this is back-pressure instead",
  unavailable: "the store cannot be reached; the event may or may not be stored, so keep its `event_id`",
  not_collected: "a collection rule of the MCP leaves it out: nothing is wrong, nothing is stored, it is resolved",
  not_found: "VerifyEvents only: no event with this id is stored",
} as const satisfies Record<keyof typeof retryableByStatus, string>;

/** docs/errors.md. */
export function renderErrorsDoc(): string {
  return `${[introduction, codes(), reasons(), verdicts()].join("\n\n")}\n`;
}

/** Names of the contract's EventStatus, without the prefix, in lower case. */
export function contractStatuses(): readonly string[] {
  return EventStatusSchema.values
    .map(({ name }) => name.replace("EVENT_STATUS_", "").toLowerCase())
    .filter((name) => name !== "unspecified");
}

const introduction = `# Errors

Written by the tests from \`src/platform/errors.ts\` and \`src/ingest/verdict.ts\`; change it there.

A refused call carries \`google.rpc.ErrorInfo\` with a \`reason\` of the second table and the domain \`${errorDomain}\`, and where they apply \`BadRequest\` (which
field, which rule) and \`RetryInfo\` (how long to wait). An event in a batch or on a stream never fails its call: it gets a verdict of the third table.`;

function codes(): string {
  const rows = Object.entries(errorTable).map(
    ([code, { grpc, http, retry, nextStep }]) =>
      `| ${code} | ${grpc} ${grpcNames[grpc] ?? ""} | ${http} | ${retryWords[retry]} | ${nextStep} |`,
  );
  return [
    "## Codes: what to do next",
    "",
    "| code | gRPC | HTTP | send the same again? | next step |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function reasons(): string {
  const rows = Object.entries(errorReasons).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  return ["## Reasons: what happened", "", "| reason | meaning |", "|---|---|", ...rows].join("\n");
}

function verdicts(): string {
  const rows = Object.entries(retryableByStatus).map(
    ([status, isRetryable]) =>
      `| ${status.toUpperCase()} | ${isRetryable ? "yes" : "no"} | ${Object.entries(verdictMeanings).find(([name]) => name === status)?.[1] ?? ""} |`,
  );
  const note = "`EventAck.retryable` is authoritative: follow it, not this table.";
  return ["## Verdicts on events", "", note, "", "| status | send the same again? | meaning |", "|---|---|---|", ...rows].join("\n");
}
