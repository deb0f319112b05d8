import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ConfigAck as ConfigAckMessage,
  LoadReport as LoadReportMessage,
  SessionConfigSchema,
} from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { ApplyStatus } from "../smart-router/table.js";
import { applyStatuses } from "./routes.js";
import { respond, type ServerFrame } from "./server-frame.js";
import { durationFromMs, timestampFromMs } from "./time.js";

/** Limits and cadences of a session. */
export type SessionSettings = {
  readonly version: number;
  readonly maxBatchEvents: number;
  readonly maxEventBytes: number;
  readonly heartbeatIntervalMs: number;
  readonly dedupeHorizonMs: number;
  readonly maxClockSkewMs: number;
  readonly maxSessionAgeMs: number;
};

/** A client's answer to new settings. `version` is what is in force there now. */
export type ConfigAck = { readonly nonce: string; readonly version: number; readonly status: ApplyStatus; readonly detail: string };

/** What an MCP says it has to do. */
export type LoadReport = { readonly inFlight: number; readonly queued: number; readonly utilization: number };

/** The settings as a message. */
export function settingsToProto(settings: SessionSettings): MessageInitShape<typeof SessionConfigSchema> {
  return {
    version: BigInt(settings.version),
    maxBatchEvents: settings.maxBatchEvents,
    maxEventBytes: settings.maxEventBytes,
    heartbeatInterval: durationFromMs(settings.heartbeatIntervalMs),
    dedupeHorizon: durationFromMs(settings.dedupeHorizonMs),
    maxClockSkew: durationFromMs(settings.maxClockSkewMs),
    maxSessionAge: durationFromMs(settings.maxSessionAgeMs),
  };
}

export function configUpdateFrame(nonce: string, settings: SessionSettings): ServerFrame {
  return respond({ case: "configUpdate", value: { nonce, config: settingsToProto(settings) } });
}

/** `expiresAtMs` undefined means that the credential in force never expires; `refusalReason` empty that it is the new one. */
export function credentialRefreshAckFrame(expiresAtMs: number | undefined, refusalReason: string): ServerFrame {
  const base = { refusalReason };
  return respond({
    case: "credentialRefreshAck",
    value: expiresAtMs === undefined ? base : { ...base, expiresAt: timestampFromMs(expiresAtMs) },
  });
}

/** Undefined when its status is none that is known here. */
export function configAckFromProto(ack: ConfigAckMessage): ConfigAck | undefined {
  const status: ApplyStatus | undefined = applyStatuses[ack.status]; // undefined too for a status that a newer client sends
  return status && { nonce: ack.nonce, version: Number(ack.version), status, detail: ack.detail };
}

export function loadReportFromProto(report: LoadReportMessage): LoadReport {
  return { inFlight: report.inFlight, queued: report.queued, utilization: report.utilization };
}
