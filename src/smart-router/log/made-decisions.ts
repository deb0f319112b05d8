import { limits } from "../../platform/limits.js";

/** For whom a decision was made here, and whom it named. */
export type MadeDecision = { readonly mcpId: string; readonly keyId: string };

/** What a start event says about the decision that it names. */
export type StartVerdict = "own" | "foreign" | "unknown";

/** The decisions made by this coordinator, to judge who may give one back and which start events mean it. */
export type MadeDecisions = {
  readonly add: (decisionId: string, made: MadeDecision) => void;
  /** Undefined when it was made elsewhere, long ago, or never. */
  readonly find: (decisionId: string) => MadeDecision | undefined;
  /** Judges a start event of `mcpId` and counts what confirms nothing. */
  readonly judgeStart: (decisionId: string, mcpId: string) => StartVerdict;
  /** Start events so far that named a decision about another MCP, and those that named an unknown one. */
  readonly counts: () => { readonly foreign: number; readonly unknown: number };
};

/**
 * None yet.     Bound: `limits.madeDecisionsMax`, above which the older half is forgotten at once: a map that loses its oldest entry over and over walks its own
 * gaps.
 */
export function createMadeDecisions(): MadeDecisions {
  let young = new Map<string, MadeDecision>();
  let old = new Map<string, MadeDecision>();
  const find = (decisionId: string): MadeDecision | undefined => young.get(decisionId) ?? old.get(decisionId);
  let foreign = 0;
  let unknown = 0;
  return {
    add: (decisionId, one) => {
      young.set(decisionId, one);
      if (young.size * 2 < limits.madeDecisionsMax) return;
      old = young;
      young = new Map();
    },
    find,
    judgeStart: (decisionId, mcpId) => {
      const found = find(decisionId);
      if (found === undefined) {
        unknown += 1;
        return "unknown";
      }
      if (found.mcpId === mcpId) return "own";
      foreign += 1;
      return "foreign";
    },
    counts: () => ({ foreign, unknown }),
  };
}
