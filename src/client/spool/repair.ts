import { existsSync, linkSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import { type DataFile, openDataFile } from "./data-file.js";
import { dataFileOf, type Environment, openEnvironment, stateKey } from "./environment.js";
import { type Salvaged, salvageLeaves, salvageTrees } from "./examine-file.js";
import { syncDirectory } from "./format-file.js";
import { decodeSetAside, readRecord, sizeBytes } from "./record.js";
import { encodeState } from "./state.js";
import { countEvent, countSetAside, noTotals, type Totals } from "./totals.js";

/** What became of a broken file: its new name, and what could be read out of it. */
export type Repair = { readonly why: string; readonly movedTo: string; readonly salvagedEvents: number; readonly salvagedSetAside: number };

/**
 * Puts a sound file in the place of a broken one, with all records in it that can be read and are what was written. The broken one is kept
 * under a name that says so. A crash at any point leaves either file in place.     Errors: the file system's, then nothing has changed.
 */
export function repairFile(directory: string, why: string, clock: Pick<Clock, "nowMs">): Repair {
  const rescue = join(directory, "rescue");
  rmSync(rescue, { recursive: true, force: true });
  mkdirSync(rescue, { mode: 0o700 });
  const saved = copyInto(rescue, dataFileOf(directory));
  const movedTo = freeName(dataFileOf(directory), clock);
  linkSync(dataFileOf(directory), movedTo);
  renameSync(dataFileOf(rescue), dataFileOf(directory));
  rmSync(join(directory, "lock.mdb"), { force: true });
  rmSync(rescue, { recursive: true, force: true });
  syncDirectory(directory);
  return { why, movedTo: basename(movedTo), salvagedEvents: saved.events, salvagedSetAside: saved.setAside };
}

/** Writes what can be read of a broken file into a new spool. Every write here is synchronous, so lmdb has closed when `close` returns. */
function copyInto(rescue: string, brokenPath: string): Totals {
  const env = openEnvironment(rescue);
  const file = openDataFile(brokenPath);
  try {
    return file === undefined ? noTotals() : copyRecords(env, file);
  } finally {
    file?.close();
    void env.root.close();
  }
}

/**
 * First what the trees give: that is what was waiting. If part of them is missing, then whatever else lies in the file: some of it may have been
 * stored already, which costs the coordinator a duplicate, and leaving it out could cost an event.
 */
function copyRecords(env: Environment, file: DataFile): Totals {
  const totals = noTotals();
  const last = { place: 0 };
  const { isWhole } = copyAll(env, salvageTrees(file), totals, last);
  if (!isWhole) copyAll(env, salvageLeaves(file), totals, last);
  return totals;
}

function copyAll<T>(env: Environment, records: Generator<Salvaged, T>, totals: Totals, last: { place: number }): T {
  for (;;) {
    const end = env.root.transactionSync(() => {
      let result: IteratorReturnResult<T> | undefined;
      for (let i = 0; i < limits.spoolCommitMaxEvents && result === undefined; i++) {
        const next = records.next();
        if (next.done === true) result = next;
        else if (copyRecord(env, next.value, totals)) last.place = Math.max(last.place, next.value.place);
      }
      env.meta.putSync(stateKey, encodeState({ lastPlace: last.place, totals }));
      return result;
    });
    if (end !== undefined) return end.value;
  }
}

/** False when there is one of this place already, or the record is not what was written. */
function copyRecord(env: Environment, { place, value }: Salvaged, totals: Totals): boolean {
  if (env.events.doesExist(place) || env.setAside.doesExist(place)) return false;
  const record = readRecord(value);
  if (record !== undefined) {
    env.events.putSync(place, value);
    if (record.kind === "progress") env.progress.putSync(place, sizeBytes(value.length));
    countEvent(totals, record.kind, value.length, 1);
    return true;
  }
  if (decodeSetAside(value) === undefined) return false;
  env.setAside.putSync(place, value);
  countSetAside(totals, value.length, 1);
  return true;
}

/** A name beside the file that nothing has. */
function freeName(path: string, clock: Pick<Clock, "nowMs">): string {
  const stamp = new Date(clock.nowMs()).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  for (let i = 0; ; i++) {
    const name = `${path}.broken-${stamp}${i === 0 ? "" : `-${i}`}`;
    if (!existsSync(name)) return name;
  }
}
