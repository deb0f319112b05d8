import type { NewEvent } from "../interaction/event.js";

/** What a batch says of one interaction: the events that speak for it, and what adds up. Times in microseconds since the Unix epoch. */
export type Share = {
  /** Any of the events; all name the same MCP and interaction. */
  readonly any: NewEvent;
  eventCount: number;
  lastEventAtUs: number;
  startedAtUs: number | undefined;
  /** The greatest id of its kind, as mergeEvents has it. */
  start: NewEvent | undefined;
  progress: NewEvent | undefined;
  terminal: NewEvent | undefined;
  /** Two terminal events of the batch disagree. */
  hasConflict: boolean;
};

/**
 * Folds a batch per interaction, by the rules of mergeEvents; the statement folds the shares into the rows. Sorted by MCP and interaction, so that
 * all batches lock rows in one order.     `events`: distinct, by ascending event_id.
 */
export function foldBatch(events: readonly NewEvent[]): readonly Share[] {
  const fleet = new Map<string, Map<string, Share>>();
  for (const event of events) {
    let shares = fleet.get(event.mcpId);
    if (shares === undefined) {
      shares = new Map();
      fleet.set(event.mcpId, shares);
    }
    const share = shares.get(event.interactionId);
    if (share === undefined) shares.set(event.interactionId, shareOf(event));
    else add(share, event);
  }
  return [...fleet.keys()].sort().flatMap((mcpId) => sorted(fleet.get(mcpId)));
}

function sorted(shares: ReadonlyMap<string, Share> | undefined): readonly Share[] {
  return [...(shares?.values() ?? [])].sort((a, b) => (a.any.interactionId < b.any.interactionId ? -1 : 1));
}

function shareOf(event: NewEvent): Share {
  const share: Share = {
    any: event,
    eventCount: 0,
    lastEventAtUs: event.occurredAtUs,
    startedAtUs: undefined,
    start: undefined,
    progress: undefined,
    terminal: undefined,
    hasConflict: false,
  };
  add(share, event);
  return share;
}

/** `event` has a greater id than all before it. */
function add(share: Share, event: NewEvent): void {
  share.eventCount += 1;
  if (event.occurredAtUs > share.lastEventAtUs) share.lastEventAtUs = event.occurredAtUs;
  switch (event.facts.kind) {
    case "start":
      share.start = event;
      if (share.startedAtUs === undefined || event.occurredAtUs < share.startedAtUs) share.startedAtUs = event.occurredAtUs;
      break;
    case "progress":
      share.progress = event;
      break;
    case "terminal": {
      const before = share.terminal?.facts;
      if (before?.kind === "terminal" && before.success !== event.facts.success) share.hasConflict = true;
      share.terminal = event;
      break;
    }
  }
}
