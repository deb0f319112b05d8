import type { Principal } from "../auth/principal.js";
import type { Cancel, Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { parseRequestId } from "../platform/request-id.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { refusalOf } from "../store/refusal.js";
import type { CallContext } from "./context.js";
import type { Lifetime } from "./lifetime.js";
import { logRefusal } from "./status.js";

/** What the adapters need of the process. */
export type CallDeps = {
  /** Judges the `authorization` header. Throws `unauthenticated` or `forbidden`. */
  readonly authenticate: (authorization: string | undefined) => Principal;
  readonly lifetime: Lifetime;
  readonly clock: Pick<Clock, "after">;
  readonly log: Logger;
  /** Sent back as x-coordinator-node. */
  readonly coordinatorId: string;
};

/** What a protocol knows of a call before it is authenticated. */
export type CallStart = {
  /** `/package.Service/Method`, for the log. */
  readonly rpc: string;
  readonly authorization: string | undefined;
  readonly requestId: string | undefined;
  readonly timeoutMs: number | undefined;
};

/** One call under way. */
export type Call = {
  readonly requestId: string;
  readonly signal: AbortSignal;
  /** Judges the credential and gives what the handler gets. Throws like `authenticate`. */
  readonly admit: () => CallContext;
  /** The same for a call that lasts: its credential is judged again every `limits.credentialCheckMs`, and `signal` aborts when it is refused by then. */
  readonly admitStream: () => CallContext;
  /** Throws the refusal that `admitStream` came to meanwhile; nothing without. */
  readonly throwIfRefused: () => void;
  /** The caller went away, or its deadline passed. */
  readonly cancel: () => void;
  /** What the caller hears of `thrown`; writes to the log what it does not hear. */
  readonly refuse: (thrown: unknown) => CoordinatorError;
  /** Ends what the call holds of the process. Idempotent. */
  readonly release: () => void;
};

/** A new call that `endedBy` cuts short. `release` it when it has been answered. */
export function openCall(deps: CallDeps, start: CallStart, endedBy: AbortSignal): Call {
  const requestId = parseRequestId(start.requestId) ?? mintUuidV7();
  const controller = new AbortController();
  const onEnd = () => controller.abort(endedBy.reason);
  if (endedBy.aborted) onEnd();
  else endedBy.addEventListener("abort", onEnd, { once: true });
  let cancelCheck: Cancel = () => {};
  let refused: { readonly thrown: unknown } | undefined;
  const admit = (): CallContext => ({
    principal: deps.authenticate(start.authorization),
    signal: controller.signal,
    requestId,
    timeoutMs: start.timeoutMs,
  });
  const checkLater = (): void => {
    cancelCheck = deps.clock.after(limits.credentialCheckMs, () => {
      try {
        deps.authenticate(start.authorization);
        checkLater();
      } catch (thrown) {
        // The loop's edge: the refusal ends the call.
        refused = { thrown };
        controller.abort(thrown);
      }
    });
  };
  const deadlineAtMs = start.timeoutMs === undefined ? undefined : performance.now() + start.timeoutMs;
  return {
    requestId,
    signal: controller.signal,
    admit,
    admitStream: () => {
      const context = admit();
      checkLater();
      return context;
    },
    throwIfRefused: () => {
      if (refused !== undefined) throw refused.thrown;
    },
    cancel: () => controller.abort(cancelledError(deadlineAtMs !== undefined && performance.now() >= deadlineAtMs)),
    refuse: (thrown) => {
      const error = refusalOf(isConsequence(thrown, controller.signal) ? controller.signal.reason : thrown);
      logRefusal(deps.log, error, { rpc: start.rpc, requestId });
      return error;
    },
    release: () => {
      cancelCheck();
      endedBy.removeEventListener("abort", onEnd);
    },
  };
}

/** The result of `work`, or the reason of `signal` if that comes first: a handler that overlooks its signal cannot hold the call. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Whether a failure only repeats that the call was cut short. */
function isConsequence(thrown: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (thrown === signal.reason || (thrown instanceof Error && thrown.name === "AbortError"));
}

function cancelledError(isLate: boolean): CoordinatorError {
  return isLate
    ? new CoordinatorError("late", "the deadline passed before the answer", { reason: "DEADLINE_EXCEEDED" })
    : new CoordinatorError("unavailable", "the caller went away", { reason: "CALL_CANCELLED" });
}
