import type { LookedUp, LookUp, Tally } from "../client/verify.js";
import { unreachable } from "../platform/assert.js";
import type { LedgerEvent } from "./ledger-events.js";

/** What can be wrong or unsure about an event or an interaction. */
export type FindingKind = "lost" | "unexpected" | "duplicated" | "differing" | "undecided";

/** One of them, for people and programs. `eventId` and `where` are empty when it is about a whole interaction. */
export type Finding = {
  readonly kind: FindingKind;
  readonly mcpId: string;
  readonly interactionId: string;
  readonly eventId: string;
  /** "file:line" of the ledger. */
  readonly where: string;
  readonly message: string;
};

/** Counts of events; `interactions` of interactions. Every event of the ledger is in exactly one of the first seven. */
export type LedgerCounts = {
  ok: number;
  refused: number;
  indeterminateStored: number;
  indeterminateAbsent: number;
  lost: number;
  differing: number;
  undecided: number;
  /** Events in the store that must not be there: refused ones, and those of the ledger's interactions that no ledger has. */
  unexpected: number;
  /** Events that a merged interaction counts more often than they are stored. */
  duplicated: number;
  interactions: number;
};

/** Part of an interaction on one page. Tallied on the page where it ends. */
type Section = { readonly interactionId: string; isLast: boolean };

/** Consecutive events of one MCP. */
export type Page = { readonly mcpId: string; readonly events: readonly LedgerEvent[]; readonly sections: readonly Section[] };

/** Events on one page: with events of a replay some 100 KiB. */
const pageMaxEvents = 500;
/** Base64 on one page. With pageMaxEvents ids below frameMaxBytes. */
const pageMaxChars = 2 * 1024 * 1024;
const findingsMax = 20;

/** Cuts events in ledger order into pages. */
export function* pagesOf(events: Iterable<LedgerEvent>): Generator<Page> {
  let page: { mcpId: string; events: LedgerEvent[]; sections: Section[] } | undefined;
  let chars = 0;
  for (const event of events) {
    const isOther = page !== undefined && page.mcpId !== event.mcpId;
    const isFull = page !== undefined && (page.events.length >= pageMaxEvents || chars + (event.event?.length ?? 0) > pageMaxChars);
    const last = page?.sections.at(-1);
    if (page !== undefined && last !== undefined && (isOther || isFull)) {
      last.isLast = isOther || last.interactionId !== event.interactionId;
      yield page;
      page = undefined;
    }
    if (page === undefined) {
      page = { mcpId: event.mcpId, events: [], sections: [] };
      chars = 0;
    }
    page.events.push(event);
    chars += event.event?.length ?? 0;
    const open = page.sections.at(-1);
    if (open?.interactionId === event.interactionId) continue;
    if (open !== undefined) open.isLast = true;
    page.sections.push({ interactionId: event.interactionId, isLast: false });
  }
  const last = page?.sections.at(-1);
  if (page === undefined || last === undefined) return;
  last.isLast = true;
  yield page;
}

/** What to ask the store about a page. */
export function lookUpOf(page: Page): LookUp {
  return {
    mcpId: page.mcpId,
    events: page.events.map(({ eventId, event }) => ({ eventId, encoded: event === undefined ? undefined : Buffer.from(event, "base64") })),
    interactionIds: page.sections.filter(({ isLast }) => isLast).map(({ interactionId }) => interactionId),
  };
}

/** Compares what the ledger says with what the store answered, page after page in the order of `pagesOf`. */
export class LedgerCheck {
  readonly counts: LedgerCounts = {
    ok: 0,
    refused: 0,
    indeterminateStored: 0,
    indeterminateAbsent: 0,
    lost: 0,
    differing: 0,
    undecided: 0,
    unexpected: 0,
    duplicated: 0,
    interactions: 0,
  };
  /** The first few, at most `findingsMax`. */
  readonly findings: Finding[] = [];
  #hasTallies = true;
  /** Events of the interaction at hand that the store has, and whether some could not be judged. */
  #foundCount = 0;
  #isUnsure = false;

  /** Whether the coordinator counts events of interactions; without that, `unexpected` and `duplicated` say nothing. */
  get hasTallies(): boolean {
    return this.#hasTallies;
  }

  /** Takes the answers to `lookUpOf(page)`. */
  judge(page: Page, answers: readonly LookedUp[], tallies: ReadonlyMap<string, Tally> | undefined): void {
    if (tallies === undefined) this.#hasTallies = false;
    let sectionAt = 0;
    page.events.forEach((event, index) => {
      if (page.sections[sectionAt]?.interactionId !== event.interactionId) this.#endSection(page, sectionAt++, tallies);
      this.#judgeEvent(event, answers[index] ?? "unjudged");
    });
    if (page.sections[sectionAt]?.isLast) this.#endSection(page, sectionAt, tallies);
  }

  #judgeEvent(event: LedgerEvent, answer: LookedUp): void {
    if (answer === "equal" || answer === "other") this.#foundCount++;
    if (answer === "unjudged") this.#isUnsure = true;
    switch (event.expectation) {
      case "stored":
        if (answer === "equal") this.counts.ok++;
        else if (answer === "nothing") this.#note("lost", event, "was acknowledged and is not stored");
        else this.#noteOther(event, answer);
        break;
      case "refused":
        if (answer === "equal" || answer === "other") this.#note("unexpected", event, "was refused and is stored");
        else this.counts.refused++;
        break;
      case "open":
        if (answer === "equal") this.counts.indeterminateStored++;
        else if (answer === "other") this.#noteOther(event, answer);
        else this.counts.indeterminateAbsent++;
        break;
      case "unclear":
        this.#note("undecided", event, "has lines that contradict each other");
        break;
      default:
        unreachable(event.expectation);
    }
  }

  #noteOther(event: LedgerEvent, answer: "other" | "unjudged"): void {
    if (answer === "other") this.#note("differing", event, "is stored with other content");
    else this.#note("undecided", event, "breaks a rule of this coordinator, which does not compare it");
  }

  #endSection(page: Page, at: number, tallies: ReadonlyMap<string, Tally> | undefined): void {
    const section = page.sections[at];
    if (section === undefined) return;
    this.counts.interactions++;
    const tally = tallies?.get(section.interactionId);
    const subject = { mcpId: page.mcpId, interactionId: section.interactionId, eventId: "", where: "" };
    if (tally !== undefined) this.#judgeTally(subject, tally);
    this.#foundCount = 0;
    this.#isUnsure = false;
  }

  #judgeTally(subject: Omit<Finding, "kind" | "message">, { storedEvents, mergedEvents }: Tally): void {
    const more = storedEvents - this.#foundCount;
    if (more > 0 && !this.#isUnsure) {
      this.#note("unexpected", subject, `has ${storedEvents} stored events, ${more} more than the ledger knows`, more);
    }
    // Without a merged row there is nothing to compare: maintenance deletes the oldest interactions before their events.
    if (mergedEvents === 0 || mergedEvents === storedEvents) return;
    const message = `counts ${mergedEvents} events, and ${storedEvents} are stored`;
    if (mergedEvents > storedEvents) this.#note("duplicated", subject, message, mergedEvents - storedEvents);
    else this.#note("differing", subject, message);
  }

  #note(kind: FindingKind, subject: Omit<Finding, "kind" | "message">, message: string, count = 1): void {
    this.counts[kind] += count;
    if (this.findings.length >= findingsMax) return;
    const { mcpId, interactionId, eventId, where } = subject;
    this.findings.push({ kind, mcpId, interactionId, eventId, where, message });
  }
}
