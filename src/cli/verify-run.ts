import { type Connection, createConnection, type Endpoint } from "../client/connect.js";
import { type LookedUpPage, lookUp } from "../client/verify.js";
import { backoffMs } from "../platform/backoff.js";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";
import { CliFailure } from "./exit-code.js";
import { LedgerCheck, lookUpOf, type Page, pagesOf } from "./ledger-check.js";
import type { LedgerEvent } from "./ledger-events.js";

/** What asking needs of the world. `sleep` ends early when the signal aborts, without an error. */
export type AskDeps = { readonly rng: Rng; readonly sleep: (ms: number, signal: AbortSignal) => Promise<void> };

/** Calls on the way at once: keeps the coordinator's readers busy without queueing behind them. */
const callsMax = 4;
const deadlineMs = 30_000;
/** With the client's backoff, tries go on for six seconds in the mean and twelve at most: the restart of a coordinator passes unseen. */
const triesMax = 7;
/** RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE: the same question later. */
const passing: ReadonlySet<number> = new Set([4, 8, 14]);
/** PERMISSION_DENIED, UNAUTHENTICATED. */
const refusing: ReadonlySet<number> = new Set([7, 16]);

/**
 * Asks a coordinator about every event, in pages, and judges the answers. `seen` gets the events judged so far. Ends early when the signal aborts.
 * Errors: CliFailure `unavailable`, `refused` or `failed`, by what the coordinator answered.
 */
export async function checkLedger(
  deps: AskDeps,
  endpoint: Endpoint,
  events: Iterable<LedgerEvent>,
  signal: AbortSignal,
  seen: (events: number) => void,
): Promise<LedgerCheck> {
  const connection = createConnection(endpoint);
  const check = new LedgerCheck();
  // Answers are judged in the order of the pages, however they come: an interaction may run over several.
  const asked: { readonly page: Page; readonly answer: Promise<LookedUpPage> }[] = [];
  let done = 0;
  const judgeOldest = async () => {
    const oldest = asked.shift();
    if (oldest === undefined) return;
    const { events: answers, tallies } = await oldest.answer;
    check.judge(oldest.page, answers, tallies);
    done += oldest.page.events.length;
    seen(done);
  };
  try {
    for (const page of pagesOf(events)) {
      const answer = ask(deps, connection, page, signal);
      // Judged later, and then its failure is met; until then it must not end the process.
      answer.catch(() => undefined);
      asked.push({ page, answer });
      if (asked.length >= callsMax) await judgeOldest();
      if (signal.aborted) return check;
    }
    while (asked.length > 0) await judgeOldest();
    return check;
  } catch (thrown) {
    // Translates: what the shell should be told about a call that failed.
    throw explain(endpoint, thrown);
  } finally {
    connection.close();
  }
}

async function ask(deps: AskDeps, connection: Connection, page: Page, signal: AbortSignal): Promise<LookedUpPage> {
  const question = lookUpOf(page);
  for (let tries = 1; ; tries++) {
    try {
      return await lookUp(connection, question, deadlineMs);
    } catch (thrown) {
      // Becomes another try: asking changes nothing.
      if (tries >= triesMax || signal.aborted || !passing.has(codeOf(thrown) ?? -1)) throw thrown;
      await deps.sleep(backoffMs(limits.reconnectBackoff, tries, deps.rng), signal);
    }
  }
}

function explain(endpoint: Endpoint, thrown: unknown): CliFailure {
  const code = codeOf(thrown) ?? -1;
  const message = `${endpoint.target}: cannot verify: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  if (passing.has(code)) return new CliFailure("unavailable", message, thrown);
  return new CliFailure(refusing.has(code) ? "refused" : "undecided", message, thrown);
}

function codeOf(thrown: unknown): number | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" ? thrown.code : undefined;
}
