import { type Clock, systemClock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import { diskFault } from "./disk-fault.js";
import { type Environment, openEnvironment, stateKey } from "./environment.js";
import { examineFile } from "./examine-file.js";
import { checkFormat, makeDirectory, writeFormat } from "./format-file.js";
import { type HolderWatch, holdSpool } from "./holder.js";
import { LmdbSpool } from "./lmdb-spool.js";
import { type Repair, repairFile } from "./repair.js";
import { decodeState, type SpoolState } from "./state.js";
import { createTroubleOutlet, type SpoolTrouble, type TroubleOutlet } from "./trouble.js";

/** Everything optional has its default in its comment. */
export type SpoolOptions = {
  /** A directory of its own; made when it is not there. */
  readonly directory: string;
  /** Default `limits.spoolMaxEvents`, `limits.spoolMaxBytes` and `limits.spoolMaxAgeMs`. */
  readonly maxEvents?: number;
  readonly maxBytes?: number;
  readonly maxAgeMs?: number;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Given to each try of one process to open the same spool. Without one, a spool that was left behind on another host is never free. */
  readonly watch?: HolderWatch;
  /** Told of everything that is lost, dropped or set aside by the spool itself. Must not throw. */
  readonly onTrouble?: (trouble: SpoolTrouble) => void;
};

/**
 * Opens the spool in a directory for this process, with all that an earlier one left there.
 * Errors: `failed_precondition` SPOOL_IN_USE, SPOOL_NEWER (nothing is touched), SPOOL_UNUSABLE; `unavailable` SPOOL_DISK_FULL, SPOOL_DISK_FAILED.
 */
export function openSpool(options: SpoolOptions): LmdbSpool {
  const { directory, clock = systemClock } = options;
  try {
    return open(options, clock);
  } catch (thrown) {
    throw diskFault(directory, thrown);
  }
}

function open(options: SpoolOptions, clock: Clock): LmdbSpool {
  const { directory, maxEvents, maxBytes, maxAgeMs } = options;
  checkFormat(directory);
  makeDirectory(directory);
  const hold = holdSpool(directory, clock, options.watch);
  try {
    if (!checkFormat(directory)) writeFormat(directory);
    const tell = createTroubleOutlet(clock, options.log, options.onTrouble);
    const repair = mend(directory, hold.wasAbandoned, clock, tell);
    const env = openEnvironment(directory);
    return new LmdbSpool({
      directory,
      env,
      state: readState(env),
      bounds: {
        maxEvents: maxEvents ?? limits.spoolMaxEvents,
        maxBytes: maxBytes ?? limits.spoolMaxBytes,
        maxAgeMs: maxAgeMs ?? limits.spoolMaxAgeMs,
      },
      clock,
      tell,
      repair,
      beat: hold.beat,
      release: hold.release,
    });
  } catch (thrown) {
    hold.release();
    throw thrown;
  }
}

/** Looks at the file before LMDB does, and puts a sound one in the place of a broken one. */
function mend(directory: string, isSuspect: boolean, clock: Clock, tell: TroubleOutlet): Repair | undefined {
  const why = examineFile(directory, isSuspect);
  if (why === undefined) return undefined;
  const repair = repairFile(directory, why, clock);
  const saved = `${repair.salvagedEvents} events and ${repair.salvagedSetAside} set-aside ones were read out of it`;
  tell("repaired", `the file of the spool ${directory} is broken (${why}): it is now ${repair.movedTo}, and ${saved}`, 1);
  return repair;
}

function readState(env: Environment): SpoolState {
  const state = decodeState(env.meta.get(stateKey));
  if (state !== undefined) return state;
  throw new CoordinatorError("unavailable", "the state of the spool is not what was written", { reason: "SPOOL_DISK_FAILED" });
}
