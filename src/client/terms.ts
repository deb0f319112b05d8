import type { ConfigUpdate, FlowControl, SessionConfig, Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { Capability, Pressure } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { limits } from "../platform/limits.js";
import type { FrameBounds, Window } from "./outbox.js";
import { configAckFrame } from "./wire/control.js";
import type { EncodedFrame } from "./wire/frames.js";
import { msOf } from "./wire/time.js";

const noWindow: Window = { maxEvents: 0, maxBytes: 0 };
/** Of a coordinator that does not do flow control. */
const openWindow: Window = { maxEvents: limits.windowMaxEvents, maxBytes: limits.windowMaxBytes };
/** A frame of 64 ordinary events is some 16 KiB: most of the saving per message, little delay. */
const batchDefaultEvents = 64;

/** What one stream may send and must send, as the coordinator has said last. A new stream begins with nothing. */
export class Terms {
  readonly #wantedEvents: number;
  #window = noWindow;
  #windowVersion = -1n;
  #isStoreAway = false;
  #configVersion = 0n;
  #maxBatchEvents: number = limits.batchMaxEvents;
  #promisesHeartbeats = false;
  #heartbeatMs: number = limits.heartbeatIntervalMs;

  /** `batchEvents`: what the owner wants in one frame at most. */
  constructor(batchEvents: number | undefined) {
    this.#wantedEvents = batchEvents ?? batchDefaultEvents;
  }

  get window(): Window {
    return this.#window;
  }

  /** The coordinator has said that its store does not answer: no verdict can come. */
  get isStoreAway(): boolean {
    return this.#isStoreAway;
  }

  get frame(): FrameBounds {
    return { maxEvents: Math.min(this.#wantedEvents, this.#maxBatchEvents), maxBytes: limits.clientFrameMaxBytes };
  }

  /** How often to send a heartbeat; undefined when none is wanted. Unit: ms. */
  get heartbeatMs(): number | undefined {
    return this.#promisesHeartbeats ? this.#heartbeatMs : undefined;
  }

  /** A fresh stream: nothing may be sent before Welcome. */
  forget(): void {
    this.#window = noWindow;
    this.#windowVersion = -1n;
    this.#isStoreAway = false;
  }

  /** A cadence that makes no sense is the usual one: a Welcome cannot be rejected. */
  welcomed(welcome: Welcome): void {
    this.#promisesHeartbeats = welcome.capabilities.includes(Capability.HEARTBEAT);
    if (welcome.config !== undefined) this.#apply(welcome.config);
    if (welcome.flowControl === undefined) this.#window = openWindow;
    else this.setWindow(welcome.flowControl);
  }

  /** The newest version wins; the values are absolute. */
  setWindow(flow: FlowControl | undefined): void {
    if (flow === undefined || flow.version < this.#windowVersion) return;
    this.#windowVersion = flow.version;
    this.#isStoreAway = flow.pressure === Pressure.STORAGE_UNAVAILABLE;
    this.#window = { maxEvents: flow.maxUnackedEvents, maxBytes: Number(flow.maxUnackedBytes) };
  }

  /** Takes over new settings and gives the ack. Settings that make no sense are rejected, and those before stay. */
  configured(update: ConfigUpdate): EncodedFrame {
    const { nonce, config } = update;
    const fault = config === undefined ? "no settings in it" : faultOf(config);
    if (config === undefined || fault !== undefined) return configAckFrame(nonce, "rejected", this.#configVersion, fault ?? "");
    this.#apply(config);
    return configAckFrame(nonce, "applied", this.#configVersion, "");
  }

  #apply(config: SessionConfig): void {
    this.#configVersion = config.version;
    if (config.maxBatchEvents > 0) this.#maxBatchEvents = config.maxBatchEvents;
    const intervalMs = msOf(config.heartbeatInterval, 0);
    this.#heartbeatMs = isInterval(intervalMs) ? Math.max(1, intervalMs) : limits.heartbeatIntervalMs;
  }
}

/** Whether a timer can hold it. */
function isInterval(ms: number): boolean {
  return ms > 0 && ms <= limits.timerMaxMs;
}

function faultOf(config: SessionConfig): string | undefined {
  if (config.maxBatchEvents === 0) return "max_batch_events is 0";
  const intervalMs = msOf(config.heartbeatInterval, 0);
  return isInterval(intervalMs) ? undefined : "heartbeat_interval is no length of time that a timer can hold";
}
