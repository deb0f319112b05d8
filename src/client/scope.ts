import { mintUuidV7 } from "../platform/uuid-v7.js";
import { type Measure, type Measured, usageLabels } from "./measure.js";
import type { CompleteReport, ErrorReport, ProgressReport, StartReport } from "./report.js";
import { errorOf } from "./thrown.js";

/** A new name for an interaction: time-ordered, unique. */
export const newInteractionId = (): string => mintUuidV7();

/** The interaction that a function runs in. */
export type Interaction = {
  readonly id: string;
  readonly reportProgress: (report: ProgressReport) => boolean;
  /** Adds to what is reported when the function returns, for example `qualityScore`. Later calls win member by member. */
  readonly describeResult: (report: CompleteReport) => void;
};

/** What an interaction is reported through. None of them throws. */
export type ScopeDeps = {
  readonly measure: Measure;
  readonly reportStart: (interactionId: string, report: StartReport) => boolean;
  readonly reportProgress: (interactionId: string, report: ProgressReport) => boolean;
  readonly reportComplete: (interactionId: string, report: CompleteReport) => boolean;
  readonly reportError: (interactionId: string, report: ErrorReport) => boolean;
  /** A description of a result could not be read: a getter in it has thrown, say. */
  readonly refuse: (thrown: unknown) => void;
};

/** `interactionId`: default a new one. */
export type InteractionStart = StartReport & { readonly interactionId?: string };

/**
 * Runs `task` as one interaction: reports its start, how it ended, how long it took and what the process used meanwhile. Gives what it gives, a promise when that is one, and
 * throws what it throws, the same object. Errors: only those of `task`.
 */
export function runInteraction<T>(deps: ScopeDeps, start: InteractionStart, task: (interaction: Interaction) => T): T {
  const { id, report } = readStart(start);
  let described: CompleteReport = {};
  const interaction: Interaction = {
    id,
    reportProgress: (progress) => deps.reportProgress(id, progress),
    describeResult: (result) => {
      try {
        described = { ...described, ...result };
      } catch (thrown) {
        // The loop's edge of the business call: it goes on, and what is wrong is told.
        deps.refuse(thrown);
      }
    },
  };
  const measured = deps.measure();
  deps.reportStart(id, report);
  const ended = (): void => {
    deps.reportComplete(id, { ...withMeasures(measured()), ...described, labels: { ...usageLabels, ...described.labels } });
  };
  const failed = (thrown: unknown): void => {
    deps.reportError(id, { ...withMeasures(measured()), ...errorOf(thrown) });
  };
  let result: T;
  try {
    result = task(interaction);
  } catch (thrown) {
    failed(thrown);
    throw thrown;
  }
  if (!isPromise(result)) {
    ended();
    return result;
  }
  const followed = result.then(
    (value: unknown) => {
      ended();
      return value;
    },
    (thrown: unknown) => {
      failed(thrown);
      throw thrown;
    },
  );
  // A promise of the same value: T is a promise here, and the type system does not know.
  return followed as T;
}

/** The name and the report of a start. One that cannot be read is given on as it is: whoever reports it meets the same, and refuses it. */
function readStart(start: InteractionStart): { readonly id: string; readonly report: StartReport } {
  try {
    const { interactionId, ...report } = { ...start };
    return { id: typeof interactionId === "string" && interactionId !== "" ? interactionId : newInteractionId(), report };
  } catch {
    // Translates: the refusal is made where reports are refused.
    return { id: newInteractionId(), report: start };
  }
}

function withMeasures({ processingTimeMs, resourceUsage }: Measured): CompleteReport & ErrorReport {
  return { processingTimeMs, resourceUsage, labels: usageLabels };
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
