import { existsSync, statSync } from "node:fs";
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { decodeEvent } from "../wire/frames.js";
import { diskFault, unusable } from "./disk-fault.js";
import { dataFileOf, openEnvironment, rangeAfter, stateKey } from "./environment.js";
import { examineFile } from "./examine-file.js";
import { checkFormat, spoolFormat } from "./format-file.js";
import { guessHolder, type Holder } from "./holder.js";
import { decodeSetAside, readHead } from "./record.js";
import { decodeState } from "./state.js";
import type { Totals } from "./totals.js";

/** What lies in a spool, as somebody sees it who only looks. */
export type SpoolInspection = Totals & {
  readonly format: number;
  readonly holder: Holder | undefined;
  readonly lastPlace: number;
  /** Age of the oldest event that waits.     Units: ms; 0 when there is none. */
  readonly oldestMs: number;
  readonly fileBytes: number;
};

/** A refused event for people and programs; `event` is the JSON form of an InteractionEvent. */
export type SetAsideLine = {
  readonly place: number;
  readonly eventId: string;
  readonly reason: string;
  readonly setAsideAt: string;
  readonly event: JsonValue;
};

/** An open look into a spool. `close` when done. */
export type SpoolLook = {
  readonly figures: SpoolInspection;
  readonly setAside: () => Generator<SetAsideLine>;
  readonly close: () => Promise<void>;
};

/**
 * Looks into a spool without changing it, also while a reporter has it open.
 * Errors: `failed_precondition` SPOOL_NEWER, SPOOL_UNUSABLE when there is no spool; `unavailable` SPOOL_DISK_FAILED for a broken file.
 */
export function inspectSpool(directory: string, clock: Pick<Clock, "nowMs">): SpoolLook {
  try {
    return look(directory, clock);
  } catch (thrown) {
    throw diskFault(directory, thrown);
  }
}

function look(directory: string, clock: Pick<Clock, "nowMs">): SpoolLook {
  if (!checkFormat(directory) || !existsSync(dataFileOf(directory))) throw unusable(directory, "there is no spool in it");
  const holder = guessHolder(directory, clock);
  // While somebody writes, pages change under the examination; who holds the spool has examined it.
  const fault = holder === undefined ? examineFile(directory, true) : undefined;
  if (fault !== undefined) {
    const text = `the file of the spool ${directory} is broken (${fault}): a reporter that opens it moves it aside and takes over what can be read`;
    throw new CoordinatorError("unavailable", text, { reason: "SPOOL_DISK_FAILED" });
  }
  const env = openEnvironment(directory, true);
  const state = decodeState(env.meta.get(stateKey));
  if (state === undefined) throw unusable(directory, "its state is not what was written");
  const atMs = firstTime(rangeAfter(env.events, 0));
  const figures = {
    format: spoolFormat,
    holder,
    lastPlace: state.lastPlace,
    ...state.totals,
    oldestMs: atMs === undefined ? 0 : Math.max(0, clock.nowMs() - atMs),
    fileBytes: statSync(dataFileOf(directory)).size,
  };
  return { figures, setAside: () => setAsideLines(rangeAfter(env.setAside, 0)), close: () => env.root.close() };
}

function* setAsideLines(entries: Iterable<{ readonly key: number; readonly value: Buffer }>): Generator<SetAsideLine> {
  for (const { key, value } of entries) {
    const read = decodeSetAside(value);
    if (read === undefined) continue;
    const { eventId, encoded } = read.event;
    const event = toJson(InteractionEventSchema, decodeEvent(encoded));
    yield { place: key, eventId, reason: read.reason, setAsideAt: new Date(read.atMs).toISOString(), event };
  }
}

/** When the first event was put; undefined when there is none. */
function firstTime(entries: Iterable<{ readonly value: Buffer }>): number | undefined {
  for (const { value } of entries) return readHead(value)?.atMs;
  return undefined;
}
