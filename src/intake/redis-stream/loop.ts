import { unreachable } from "../../platform/assert.js";

/** What the loop is about. States and events: intake/redis-stream/SPEC.md. */
export type LoopState =
  | { readonly kind: "idle" }
  /** Connections are being opened, or the group is being made. `failures` in a row before. */
  | { readonly kind: "connecting"; readonly failures: number }
  /** Redis cannot be used; the next try is timed. */
  | { readonly kind: "waiting"; readonly failures: number }
  /** Takes over what was delivered before and never acknowledged: to us by an earlier connection, or to a consumer that is silent. */
  | { readonly kind: "recovering"; readonly failures: number }
  /** A read is under way. */
  | { readonly kind: "reading" }
  /** Nothing is read until there is room again. */
  | { readonly kind: "full" }
  /** Nothing new is read; what was read is settled and acknowledged. */
  | { readonly kind: "draining" }
  | { readonly kind: "stopped" };

export type LoopEvent =
  | { readonly kind: "start" }
  /** Connected, and the group exists. */
  | { readonly kind: "connected" }
  | { readonly kind: "recovered"; readonly hasRoom: boolean }
  /** A read has ended, with or without entries. */
  | { readonly kind: "read"; readonly hasRoom: boolean; readonly isSweepDue: boolean }
  | { readonly kind: "room" }
  /** The group, or the stream with it, is gone. */
  | { readonly kind: "group_gone" }
  /** A connection or a command failed. */
  | { readonly kind: "failed" }
  | { readonly kind: "retry_due" }
  | { readonly kind: "drain" }
  /** Everything that was read is settled and acknowledged, or the time for it is up. */
  | { readonly kind: "done" };

/** What is to be done about it; one thing at most. */
export type LoopEffect = "open" | "make_group" | "recover" | "read" | "await_room" | "time_retry" | "settle" | "close" | "none";

export type LoopStep = { readonly next: LoopState; readonly effect: LoopEffect };

/** Next state, and what to do. Pure and total: an event that means nothing in a state changes nothing. */
export function step(state: LoopState, event: LoopEvent): LoopStep {
  const stay: LoopStep = { next: state, effect: "none" };
  if (event.kind === "drain") return drainFrom(state);
  switch (state.kind) {
    case "idle":
      return event.kind === "start" ? { next: { kind: "connecting", failures: 0 }, effect: "open" } : stay;
    case "connecting":
      if (event.kind === "connected") return { next: { kind: "recovering", failures: state.failures }, effect: "recover" };
      return event.kind === "failed" || event.kind === "group_gone" ? fail(state.failures) : stay;
    case "waiting":
      return event.kind === "retry_due" ? { next: { kind: "connecting", failures: state.failures }, effect: "open" } : stay;
    case "recovering":
      if (event.kind === "recovered") return afterRead(event.hasRoom, false);
      if (event.kind === "group_gone") return { next: { kind: "connecting", failures: state.failures }, effect: "make_group" };
      return event.kind === "failed" ? fail(state.failures) : stay;
    case "reading":
      if (event.kind === "read") return afterRead(event.hasRoom, event.isSweepDue);
      if (event.kind === "group_gone") return { next: { kind: "connecting", failures: 0 }, effect: "make_group" };
      return event.kind === "failed" ? fail(0) : stay;
    case "full":
      if (event.kind === "room") return { next: { kind: "reading" }, effect: "read" };
      return event.kind === "failed" ? fail(0) : stay;
    case "draining":
      return event.kind === "done" || event.kind === "failed" ? { next: { kind: "stopped" }, effect: "close" } : stay;
    case "stopped":
      return stay;
    default:
      return unreachable(state);
  }
}

function fail(failures: number): LoopStep {
  return { next: { kind: "waiting", failures: failures + 1 }, effect: "time_retry" };
}

function afterRead(hasRoom: boolean, isSweepDue: boolean): LoopStep {
  if (!hasRoom) return { next: { kind: "full" }, effect: "await_room" };
  if (isSweepDue) return { next: { kind: "recovering", failures: 0 }, effect: "recover" };
  return { next: { kind: "reading" }, effect: "read" };
}

function drainFrom(state: LoopState): LoopStep {
  switch (state.kind) {
    case "recovering":
    case "reading":
    case "full":
      return { next: { kind: "draining" }, effect: "settle" };
    case "draining":
    case "stopped":
      return { next: state, effect: "none" };
    default:
      return { next: { kind: "stopped" }, effect: "close" };
  }
}
