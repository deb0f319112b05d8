import { checkDraft } from "../interaction/check.js";
import type { EventKind } from "../interaction/event.js";
import { type Clock, systemClock } from "../platform/clock.js";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { type Rng, systemRng } from "../platform/rng.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { Line } from "./line.js";
import { createMeasure, type Measure } from "./measure.js";
import { type CompleteReport, draftOf, type ErrorReport, type ProgressReport, type StartReport } from "./report.js";
import { type ReporterOptions, type ReporterSettings, readOptions } from "./reporter-options.js";
import type { ReporterCounters, ReporterState } from "./reporter-state.js";
import { type Interaction, type InteractionStart, runInteraction } from "./scope.js";
import type { SetAside } from "./spool/spool.js";
import { errorOf } from "./thrown.js";
import { Troubles } from "./troubles.js";
import type { WayOut } from "./ways.js";
import { eventInitOf } from "./wire/event.js";
import { encodeEvent, sequenceMaxBytes } from "./wire/frames.js";

/** What tests give instead of the machine's. */
export type ReporterSurroundings = { readonly clock?: Clock; readonly rng?: Rng; readonly outs?: readonly WayOut[] };

/**
 * Makes a reporter. Never throws: with options that cannot work it reports nothing, and says so in `state`, to `onTrouble` and to the log.
 * Close it at the end: `await using`, or `close()`.
 */
export function createReporter(options: ReporterOptions, surroundings: ReporterSurroundings = {}): Reporter {
  return new Reporter(options, surroundings);
}

/**
 * Reports interactions of one MCP. No call waits for anything, and none throws because of reporting. An event is durable before it is sent, and forgotten only when
 * the coordinator has it.
 */
export class Reporter implements AsyncDisposable {
  readonly #settings: ReporterSettings;
  readonly #clock: Clock;
  readonly #troubles: Troubles;
  readonly #measure: Measure;
  readonly #line: Line | undefined;
  #kind: ReporterState["kind"];
  #reported = 0;
  #refused = 0;
  #full = 0;
  #closing: Promise<void> | undefined;

  constructor(options: ReporterOptions, { clock = systemClock, rng = systemRng, outs }: ReporterSurroundings) {
    const { settings, faults } = readOptions(options);
    const log = settings.log?.child({ mcp_id: settings.mcpId });
    this.#settings = log === undefined ? settings : { ...settings, log };
    this.#clock = clock;
    this.#measure = createMeasure(clock);
    this.#troubles = new Troubles({ clock, log, onTrouble: settings.onTrouble });
    this.#kind = settings.enableReporting ? (faults.length > 0 ? "unusable" : "open") : "off";
    for (const remark of settings.remarks ?? []) this.#troubles.tell("remark", remark);
    if (this.#kind === "unusable") {
      const named = faults.map(({ field, description }) => `${field} ${description}`).join("; ");
      this.#troubles.tell("options", `nothing is reported: ${named}`, faults);
    }
    const onState = () => this.#troubles.run(() => settings.onState?.(this.state));
    const deps = { clock, rng, troubles: this.#troubles, onState, ...(outs === undefined ? {} : { outs }) };
    this.#line = this.#kind === "open" ? new Line(this.#settings, deps) : undefined;
  }

  /** What the reporter is like now. */
  get state(): ReporterState {
    const none = { stored: 0, duplicate: 0, notCollected: 0, setAside: 0, deferred: 0 };
    const counters: ReporterCounters = {
      reported: this.#reported,
      refused: this.#refused,
      full: this.#full,
      ...(this.#line?.counts ?? none),
    };
    return { kind: this.#kind, ...(this.#line?.state ?? nowhere), counters, troubles: this.#troubles.recent };
  }

  /** Events that the coordinator refuses for good, with the reason, oldest first; at most `limits.setAsideInMemoryMax`. */
  get setAside(): readonly SetAside[] {
    const max = limits.setAsideInMemoryMax;
    return (this.#line?.spools ?? []).flatMap((spool) => spool.listSetAside(0, max)).slice(0, max);
  }

  /** An interaction began. True when it was taken, or when reporting is off; false when it was refused, which `state.troubles` explains. Never throws. */
  reportStart(interactionId: string, report: StartReport = {}): boolean {
    return this.#report("start", interactionId, report);
  }

  /** It is under way. As reportStart. */
  reportProgress(interactionId: string, report: ProgressReport = {}): boolean {
    return this.#report("progress", interactionId, report);
  }

  /** It ended with a result. As reportStart. */
  reportComplete(interactionId: string, report: CompleteReport = {}): boolean {
    return this.#report("complete", interactionId, report);
  }

  /** It ended with an error: a report, or whatever was thrown. As reportStart. */
  reportError(interactionId: string, error: ErrorReport | Error): boolean {
    return this.#report("error", interactionId, error instanceof Error ? errorOf(error) : error);
  }

  /** Runs `task` as one interaction and reports it; see runInteraction. Gives and throws what `task` gives and throws. */
  withInteraction<T>(task: (interaction: Interaction) => T): T;
  withInteraction<T>(start: InteractionStart, task: (interaction: Interaction) => T): T;
  withInteraction<T>(first: InteractionStart | ((interaction: Interaction) => T), second?: (interaction: Interaction) => T): T {
    const task = typeof first === "function" ? first : second;
    const start = typeof first === "function" ? {} : first;
    if (task === undefined) throw new TypeError("withInteraction needs a function to run");
    return runInteraction({ measure: this.#measure, ...this.#scope }, start, task);
  }

  /** Resolves when everything that was reported is on disk: from then on not even kill -9 loses it. Never rejects; with a spool in memory it says nothing. */
  async durable(): Promise<void> {
    await this.#line?.durable();
  }

  /** Resolves when everything that was reported is resolved: true; or after `maxMs`: false. Never rejects. */
  async flush(maxMs: number = limits.clientCloseMaxMs): Promise<boolean> {
    return (await this.#line?.flush(maxMs)) ?? true;
  }

  /** Waits for verdicts, at most `closeMaxMs`, and gives everything free. What has none by then stays in the spool. Never rejects; idempotent. */
  async close(): Promise<void> {
    if (this.#kind === "open") this.#kind = "closed";
    this.#closing ??= this.#line?.close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #scope = {
    reportStart: (id: string, report: StartReport) => this.reportStart(id, report),
    reportProgress: (id: string, report: ProgressReport) => this.reportProgress(id, report),
    reportComplete: (id: string, report: CompleteReport) => this.reportComplete(id, report),
    reportError: (id: string, report: ErrorReport) => this.reportError(id, report),
    refuse: (thrown: unknown) => void this.#refuse("complete", [unreadable("complete", thrown)]),
  };

  #report(kind: EventKind, interactionId: string, report: unknown): boolean {
    if (this.#kind === "off") return true;
    if (this.#line === undefined || this.#kind !== "open")
      return this.#refuse(kind, closedFaults[this.#kind === "closed" ? "closed" : "unusable"]);
    try {
      return this.#take(this.#line, kind, interactionId, report);
    } catch (thrown) {
      // The loop's edge of the business call: what a getter of the caller's throws, say, becomes a refusal.
      return this.#refuse(kind, [unreadable(kind, thrown)]);
    }
  }

  #take(line: Line, kind: EventKind, interactionId: string, report: unknown): boolean {
    const { mcpId, labels } = this.#settings;
    const eventId = mintUuidV7();
    const id = typeof interactionId === "string" ? interactionId : "";
    const { draft, faults } = draftOf(kind, { mcpId, interactionId: id, eventId, labels }, report, this.#clock.nowMs());
    const wrong = faults.length > 0 ? faults : checkDraft(draft);
    if (wrong.length > 0) return this.#refuse(kind, wrong);
    const encoded = encodeEvent(eventInitOf(draft));
    if (encoded.length + sequenceMaxBytes > limits.eventMaxBytes) {
      const description = `the event has ${encoded.length} bytes, more than ${limits.eventMaxBytes - sequenceMaxBytes}`;
      return this.#refuse(kind, [{ field: kind, reason: "TOO_LONG", description }]);
    }
    if (line.take(eventId, kind, encoded)) {
      this.#reported += 1;
      return true;
    }
    this.#full += 1;
    this.#troubles.tell("full", `a ${kind} report was not taken: the spool is full`);
    return false;
  }

  #refuse(kind: EventKind, faults: readonly FieldFault[]): false {
    this.#refused += 1;
    const named = faults.map(({ field, description }) => `${field} ${description}`).join("; ");
    this.#troubles.tell("refused", `a ${kind} report was not taken: ${named}`, faults);
    return false;
  }
}

const unreadable = (kind: EventKind, thrown: unknown): FieldFault => ({
  ...{ field: kind, reason: "MALFORMED" },
  description: thrown instanceof Error ? thrown.message : "could not be read",
});

/** Where events are when there is no line. */
const nowhere = {
  ...{ transport: undefined, reason: "", transports: [] },
  spool: { kind: "memory", events: 0, bytes: 0, oldestMs: 0, setAside: 0, droppedProgress: 0, refusedFull: 0 },
} as const;

const closedFaults = {
  closed: [{ field: "reporter", reason: "CLOSED", description: "is closed" }],
  unusable: [{ field: "reporter", reason: "UNUSABLE", description: "has options that cannot work" }],
} as const;
