import { setImmediate as nextTurn } from "node:timers/promises";
import type { AckStatus } from "../client/ledger-line.js";
import { type LedgerFault, type LedgerLine, parseLedgerLine } from "../client/ledger-line.js";
import { unreachable } from "../platform/assert.js";
import { LineSorter } from "./line-sorter.js";
import { readTextLines, type TextLine } from "./text-lines.js";

/**
 * What the ledger says must be in the store: `stored` after an ack of success, `refused` after one that says it never can be, `open` when nothing
 * was promised, `unclear` when the ledger contradicts itself.
 */
export type Expectation = "stored" | "refused" | "open" | "unclear";

/** One event of a ledger with all that its lines say about it. `where` is "file:line" of its first line. */
export type LedgerEvent = {
  readonly mcpId: string;
  readonly interactionId: string;
  readonly eventId: string;
  readonly expectation: Expectation;
  readonly where: string;
  /** The encoded event in base64; undefined when the ledger has only its id. */
  readonly event: string | undefined;
};

/** What a first pass over the files found. `events` is how many events `sorted` gives. */
export type LedgerSurvey = {
  readonly lines: number;
  readonly tornLines: number;
  readonly events: number;
  readonly acksWithoutEvent: number;
  readonly faultCount: number;
  /** The first few faults as "file:line: reason". */
  readonly faults: readonly string[];
};

/** An encoded event of the greatest size is 350 kB in base64; the rest of a line is ids. */
const lineMaxBytes = 512 * 1024;
const faultsNamedMax = 10;
/** Lines between two looks at the signal. */
const linesPerTurn = 5_000;

/** Verdicts after which an event cannot have been stored by this or an earlier sending. */
const refusals: ReadonlySet<AckStatus> = new Set(["INVALID", "TOO_LARGE"]);
const successes: ReadonlySet<AckStatus> = new Set(["STORED", "DUPLICATE"]);

/** Lines of one event, gathered. */
type Gathered = { eventId: string; sent: SentPart | undefined; isContradictory: boolean; isStored: boolean; isRefused: boolean };
type SentPart = { readonly where: string; readonly mcp: string; readonly interaction: string; readonly event: string };

/**
 * Brings the lines of some ledgers together by event, and the events into the order of MCP, interaction and id. Memory is bounded whatever the size
 * of the files; what does not fit goes to `dir`.     Errors: the file system's.
 */
export class LedgerEvents {
  readonly #byId: LineSorter;
  readonly #byInteraction: LineSorter;
  readonly #faults: string[] = [];
  #faultCount = 0;
  #lines = 0;
  #tornLines = 0;
  #events = 0;
  #acksWithoutEvent = 0;

  constructor(dir: string) {
    this.#byId = new LineSorter(dir, "by-id");
    this.#byInteraction = new LineSorter(dir, "by-interaction");
  }

  get survey(): LedgerSurvey {
    return {
      lines: this.#lines,
      tornLines: this.#tornLines,
      events: this.#events,
      acksWithoutEvent: this.#acksWithoutEvent,
      faultCount: this.#faultCount,
      faults: this.#faults,
    };
  }

  /** Reads one file. `seen` gets the lines read so far. Ends early when the signal aborts. */
  async read(path: string, signal: AbortSignal, seen: (lines: number) => void): Promise<void> {
    for (const line of readTextLines(path, lineMaxBytes)) {
      if (line.text.trim() !== "") this.#take(path, line);
      if (line.number % linesPerTurn !== 0) continue;
      seen(this.#lines);
      await nextTurn();
      if (signal.aborted) return;
    }
  }

  /** Joins what was read; afterwards `survey` is complete and `sorted` may be called. Ends early when the signal aborts. */
  async join(signal: AbortSignal): Promise<void> {
    let gathered: Gathered | undefined;
    let count = 0;
    for (const line of this.#byId.sorted()) {
      const fields = line.split("\t");
      const [eventId = ""] = fields;
      if (gathered === undefined || gathered.eventId !== eventId) {
        this.#book(gathered);
        gathered = { eventId, sent: undefined, isContradictory: false, isStored: false, isRefused: false };
      }
      gather(gathered, fields);
      if (++count % linesPerTurn !== 0) continue;
      await nextTurn();
      if (signal.aborted) return;
    }
    this.#book(gathered);
  }

  /** Every event once, by MCP, interaction and id. */
  *sorted(): Generator<LedgerEvent> {
    for (const line of this.#byInteraction.sorted()) {
      const [mcp, interaction, eventId, expectation, where, event] = line.split("\t");
      yield {
        mcpId: textOf(mcp),
        interactionId: textOf(interaction),
        eventId: eventId ?? "",
        expectation: expectation as Expectation, // written by #book
        where: textOf(where),
        event: event === "" ? undefined : event,
      };
    }
  }

  #take(path: string, { number, text, hasEnd }: TextLine): void {
    const isTooLong = text.length > lineMaxBytes;
    const parsed: LedgerLine | LedgerFault = isTooLong ? { kind: "fault", reason: "longer than 512 KiB" } : parseLedgerLine(text);
    if (parsed.kind === "fault" && !hasEnd) {
      // A crash while it was written: what it would have said is not known, and the event without it is indeterminate.
      this.#tornLines++;
      return;
    }
    this.#lines++;
    const where = JSON.stringify(`${path}:${number}`);
    switch (parsed.kind) {
      case "sent":
        this.#byId.add(
          [parsed.eventId, "s", where, JSON.stringify(parsed.mcpId), JSON.stringify(parsed.interactionId), parsed.event ?? ""].join("\t"),
        );
        break;
      case "acked":
        this.#byId.add([parsed.eventId, "a", parsed.status].join("\t"));
        break;
      case "fault":
        this.#faultCount++;
        if (this.#faults.length < faultsNamedMax) this.#faults.push(`${path}:${number}: ${parsed.reason}`);
        break;
      default:
        unreachable(parsed);
    }
  }

  #book(gathered: Gathered | undefined): void {
    if (gathered === undefined) return;
    const { sent, eventId } = gathered;
    if (sent === undefined) {
      this.#acksWithoutEvent++;
      return;
    }
    this.#events++;
    this.#byInteraction.add([sent.mcp, sent.interaction, eventId, expectationOf(gathered), sent.where, sent.event].join("\t"));
  }
}

function gather(gathered: Gathered, fields: readonly string[]): void {
  const [, kind, second = "", mcp = "", interaction = "", event = ""] = fields;
  if (kind === "a") {
    const status = second as AckStatus; // written by #take
    if (successes.has(status)) gathered.isStored = true;
    else if (refusals.has(status)) gathered.isRefused = true;
    return;
  }
  const { sent } = gathered;
  if (sent === undefined) gathered.sent = { where: second, mcp, interaction, event };
  else if (sent.mcp !== mcp || sent.interaction !== interaction || sent.event !== event) gathered.isContradictory = true;
}

function expectationOf({ isContradictory, isStored, isRefused }: Gathered): Expectation {
  if (isContradictory || (isStored && isRefused)) return "unclear";
  if (isStored) return "stored";
  return isRefused ? "refused" : "open";
}

/** The text of a JSON string that #take wrote. */
function textOf(json: string | undefined): string {
  return json === undefined ? "" : String(JSON.parse(json));
}
