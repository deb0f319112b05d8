import type { Logger } from "../platform/log.js";
import type { Decoded } from "./grpc-definition.js";

/** Writes down a frame that could not be decoded. */
export type UndecodableLog = (frame: Extract<Decoded<unknown>, { kind: "undecodable" }>, call: { rpc: string; requestId: string }) => void;

/** A line per frame would let one bad client fill a disk; a line per this long tells an operator all there is to know. */
const quietMs = 1_000;

/** A log of undecodable frames: at most one line in `quietMs`, which tells how many were passed over since the one before. */
export function createUndecodableLog(log: Logger, monotonicMs: () => number = () => performance.now()): UndecodableLog {
  let quietUntilMs = Number.NEGATIVE_INFINITY;
  let skippedCount = 0;
  return (frame, call) => {
    const nowMs = monotonicMs();
    if (nowMs < quietUntilMs) {
      skippedCount += 1;
      return;
    }
    const head = Buffer.from(frame.head).toString("hex");
    log.warn({ ...call, reason: frame.reason, error: frame.error, bytes: frame.bytes, head, skippedCount }, "a frame could not be decoded");
    quietUntilMs = nowMs + quietMs;
    skippedCount = 0;
  };
}
