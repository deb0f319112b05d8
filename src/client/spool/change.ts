import { unreachable } from "../../platform/assert.js";
import type { Environment } from "./environment.js";
import { stateKey } from "./environment.js";
import { sizeBytes, writeRecord } from "./record.js";
import type { SpoolKind } from "./spool.js";
import { encodeState } from "./state.js";
import { countEvent, countSetAside, type Totals } from "./totals.js";

/** One thing to be written. `bytes` is the size of what is added or taken away. */
export type Change =
  | {
      readonly type: "put";
      readonly place: number;
      readonly kind: SpoolKind;
      readonly bytes: number;
      readonly atMs: number;
      readonly eventId: string;
      readonly encoded: Uint8Array;
    }
  | { readonly type: "remove"; readonly place: number; readonly kind: SpoolKind; readonly bytes: number }
  /** `bytes` is that of the event's record; `value` is what is kept instead. */
  | { readonly type: "setAside"; readonly place: number; readonly kind: SpoolKind; readonly bytes: number; readonly value: Buffer }
  | { readonly type: "removeSetAside"; readonly place: number; readonly bytes: number };

/** What a change does to the totals. */
export function countChange(totals: Totals, change: Change): void {
  switch (change.type) {
    case "put":
      countEvent(totals, change.kind, change.bytes, 1);
      return;
    case "remove":
      countEvent(totals, change.kind, change.bytes, -1);
      return;
    case "setAside":
      countEvent(totals, change.kind, change.bytes, -1);
      countSetAside(totals, change.value.length, 1);
      return;
    case "removeSetAside":
      countSetAside(totals, change.bytes, -1);
      return;
    default:
      unreachable(change);
  }
}

/**
 * Writes changes in one transaction: all are on disk when the promise resolves, and none when it rejects.
 * `totals` are those that hold afterwards.     Errors: what LMDB throws, as it is.
 */
export async function commitChanges(env: Environment, changes: readonly Change[], lastPlace: number, totals: Totals): Promise<void> {
  const memory = Buffer.allocUnsafeSlow(changes.reduce((sum, change) => sum + (change.type === "put" ? change.bytes : 0), 0));
  let used = 0;
  const record = (change: Extract<Change, { type: "put" }>): Buffer => {
    const target = memory.subarray(used, used + change.bytes);
    used += change.bytes;
    writeRecord(target, change);
    return target;
  };
  try {
    await env.root.batch(() => {
      for (const change of changes) writeChange(env, change, record);
      void env.meta.put(stateKey, encodeState({ lastPlace, totals }));
    });
  } catch (thrown) {
    throw await reasonOf(thrown);
  }
}

/** Inside a batch the promises of single writes say nothing; the batch's does. */
function writeChange(env: Environment, change: Change, record: (change: Extract<Change, { type: "put" }>) => Buffer): void {
  switch (change.type) {
    case "put":
      void env.events.put(change.place, record(change));
      if (change.kind === "progress") void env.progress.put(change.place, sizeBytes(change.bytes));
      return;
    case "setAside":
      void env.setAside.put(change.place, change.value);
      void env.events.remove(change.place);
      if (change.kind === "progress") void env.progress.remove(change.place);
      return;
    case "remove":
      void env.events.remove(change.place);
      if (change.kind === "progress") void env.progress.remove(change.place);
      return;
    case "removeSetAside":
      void env.setAside.remove(change.place);
      return;
    default:
      unreachable(change);
  }
}

/** lmdb rejects with "Commit failed" and keeps what the disk said in a promise of its own, which must not stay without a reader. */
async function reasonOf(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error) || !("commitError" in thrown)) return thrown;
  try {
    await thrown.commitError;
    return thrown;
  } catch (reason) {
    return reason;
  }
}
