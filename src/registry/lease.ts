import { unreachable } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import type { Lease } from "../store/registry-rows.js";

/** What happens to a lease. Table of state × event: SPEC.md, held by test/unit/registry/lease.test.ts. */
export type LeaseEvent =
  /** RegisterMcp, or Hello on a stream. */
  | { readonly kind: "register" }
  /** A Heartbeat by itself: an MCP that holds no stream. */
  | { readonly kind: "beat" }
  /** A stream is open, or events were stored: more than a word. */
  | { readonly kind: "traffic" }
  /** Its last stream here has ended. */
  | { readonly kind: "lost" }
  /** Nothing was heard for this long, as the observer's own clock has it. */
  | { readonly kind: "silence"; readonly silentMs: number }
  | { readonly kind: "deregister" };

/** When silence counts. Units: ms. */
export type LeaseTerms = { readonly suspectMs: number; readonly deadMs: number };

/** A lease that has just been given. */
export const freshLease: Lease = { state: "alive", steadyBeats: 0, neededBeats: 1 };

/** The lease after an event; the same object when nothing changes. Pure: knows no clock. */
export function stepLease(lease: Lease, event: LeaseEvent, terms: LeaseTerms): Lease {
  switch (lease.state) {
    case "alive":
      return stepAlive(lease, event, terms);
    case "suspect":
      return stepSuspect(lease, event, terms);
    case "dead":
      return stepDead(lease, event);
    case "deregistered":
      return event.kind === "register" ? freshLease : lease;
    default:
      return unreachable(lease.state);
  }
}

function stepAlive(lease: Lease, event: LeaseEvent, terms: LeaseTerms): Lease {
  switch (event.kind) {
    case "register":
      return lease;
    case "beat":
    case "traffic":
      return calm(lease);
    case "lost":
      return suspect(lease);
    case "silence":
      if (event.silentMs >= terms.deadMs) return { ...lease, state: "dead", steadyBeats: 0 };
      return event.silentMs >= terms.suspectMs ? suspect(lease) : lease;
    case "deregister":
      return { ...lease, state: "deregistered", steadyBeats: 0 };
  }
}

/** One that came back has to show as many signs in a row as it needs by now; each time it goes, the number doubles. */
function stepSuspect(lease: Lease, event: LeaseEvent, terms: LeaseTerms): Lease {
  switch (event.kind) {
    case "register":
      return { ...lease, state: "alive", steadyBeats: 0 };
    case "beat":
    case "traffic":
      return proven(lease);
    case "lost":
      return lease.steadyBeats === 0 ? lease : { ...lease, steadyBeats: 0 };
    case "silence":
      if (event.silentMs >= terms.deadMs) return { ...lease, state: "dead", steadyBeats: 0 };
      return event.silentMs >= terms.suspectMs && lease.steadyBeats > 0 ? { ...lease, steadyBeats: 0 } : lease;
    case "deregister":
      return { ...lease, state: "deregistered", steadyBeats: 0 };
  }
}

/** A word does not bring it back, because it was told to register again; traffic does: it was alive where nobody could see it. */
function stepDead(lease: Lease, event: LeaseEvent): Lease {
  switch (event.kind) {
    case "register":
      return { ...lease, state: "alive", steadyBeats: 0 };
    case "traffic":
      return proven({ ...lease, state: "suspect", steadyBeats: 0 });
    case "deregister":
      return { ...lease, state: "deregistered", steadyBeats: 0 };
    case "beat":
    case "lost":
    case "silence":
      return lease;
  }
}

function suspect(lease: Lease): Lease {
  return { state: "suspect", steadyBeats: 0, neededBeats: lease.neededBeats };
}

function proven(lease: Lease): Lease {
  const steadyBeats = lease.steadyBeats + 1;
  if (steadyBeats < lease.neededBeats) return { ...lease, steadyBeats };
  return { state: "alive", steadyBeats: 0, neededBeats: Math.min(lease.neededBeats * 2, limits.leaseNeededBeatsMax) };
}

/** Steadiness is forgiven step by step: after every `leaseCalmBeats` signs in a row the number that it would need halves. */
function calm(lease: Lease): Lease {
  if (lease.neededBeats === 1) return lease;
  const steadyBeats = lease.steadyBeats + 1;
  if (steadyBeats < limits.leaseCalmBeats) return { ...lease, steadyBeats };
  return { ...lease, steadyBeats: 0, neededBeats: Math.max(1, lease.neededBeats / 2) };
}
