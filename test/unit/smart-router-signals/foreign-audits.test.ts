import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { type AuditWord, ForeignAudits } from "../../../src/smart-router/foreign-audits.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import type { LearntAudit } from "../../../src/smart-router/router.js";

const request = { ...plainRequest, requestType: "ocr", inputBytes: 5_000, qualityLevel: "high", privacyLevel: "internal" };
const auditOf = (decisionId: string, atMs: number): LearntAudit => ({ decisionId, mcpId: "m", request, quality: 0.25, atMs });
const here = new Set(["m"]);
const nothing: ReadonlySet<string> = new Set();

function openAudits(learn: (audit: LearntAudit) => boolean = () => true) {
  const learnt: LearntAudit[] = [];
  const lost: number[] = [];
  const audits = new ForeignAudits({
    learn: (audit) => {
      const isLearned = learn(audit);
      if (isLearned) learnt.push(audit);
      return isLearned;
    },
    lost: (count) => lost.push(count),
  });
  return { audits, learnt, lost };
}

describe("an audit of what one coordinator decided and another one serves", () => {
  test("is learned from by the one that holds the stream, as of when it was judged, with what requests are known by", () => {
    const [decider, holder] = [openAudits(), openAudits()];
    decider.audits.add(auditOf("d", 1_000));
    const word = decider.audits.tell(nothing, 1_400);
    holder.audits.hear(word, here, 700, 900);
    holder.audits.hear(word, here, 700, 1_900);
    expect(holder.learnt).toEqual([auditOf("d", 300)]);
    expect(decider.learnt).toEqual([]);
  });

  test("is told until some seconds after it was acknowledged, and acknowledged until some seconds after it was told", () => {
    const [decider, holder] = [openAudits(), openAudits()];
    decider.audits.add(auditOf("d", 0));
    holder.audits.hear(decider.audits.tell(nothing, 50_000), here, 50_000, 50_000);
    const acknowledged = holder.audits.tell(here, 51_000);
    expect(acknowledged).toEqual({ audits: [], learned: [{ decisionId: "d", mcpId: "m" }] });
    decider.audits.hear(acknowledged, nothing, 51_000, 52_000);
    expect(decider.audits.tell(nothing, 62_000).audits).toHaveLength(1);
    expect(decider.audits.tell(nothing, 62_001).audits).toEqual([]);
    expect(holder.audits.tell(here, 60_000).learned).toHaveLength(1);
    expect(holder.audits.tell(here, 60_001).learned).toEqual([]);
    expect(decider.lost).toEqual([]);
  });

  test("waits where the stream is for the end of the request, and is not acknowledged before", () => {
    let isOver = false;
    const [decider, holder] = [openAudits(), openAudits(() => isOver)];
    decider.audits.add(auditOf("d", 0));
    holder.audits.hear(decider.audits.tell(nothing, 1_000), here, 1_000, 1_000);
    expect(holder.audits.tell(here, 1_500).learned).toEqual([]);
    isOver = true;
    holder.audits.hear(decider.audits.tell(nothing, 2_000), here, 2_000, 2_000);
    expect(holder.learnt).toHaveLength(1);
    expect(holder.audits.tell(here, 2_500).learned).toHaveLength(1);
  });

  test("is learned from by the coordinator that decided when the stream has come to it", () => {
    const { audits, learnt } = openAudits();
    audits.add(auditOf("d", 0));
    audits.tell(nothing, 500);
    audits.tell(here, 1_000);
    audits.tell(here, 2_000);
    expect(learnt).toEqual([auditOf("d", 0)]);
  });

  test("is said to be lost when nobody acknowledges it, or when there are too many of them; nothing else is", () => {
    const { audits, lost } = openAudits();
    audits.add(auditOf("old", 0));
    audits.tell(nothing, limits.foreignAuditMaxAgeMs);
    expect(lost).toEqual([]);
    expect(audits.tell(nothing, limits.foreignAuditMaxAgeMs + 1).audits).toEqual([]);
    expect(lost).toEqual([1]);
    for (let at = 0; at <= limits.foreignAuditsMax; at += 1) audits.add(auditOf(`d${at}`, 70_000));
    expect(audits.tell(nothing, 70_000).audits.map(({ decisionId }) => decisionId)).not.toContain("d0");
    expect(lost).toEqual([1, 1]);
  });
});

/** What a coordinator knows of the one MCP: the audits that it has in it. Its row tells that, with the word, as a digest does. */
type Row = { readonly word: AuditWord; readonly atMs: number; readonly claims: boolean; readonly knowledge: readonly string[] };

/** Coordinators on one table: each round of one writes its row and reads those of the others. */
class Coordinators {
  readonly all: { readonly audits: ForeignAudits; knowledge: string[]; adopted: number }[];
  readonly rows = new Map<number, Row>();
  holder = 0;
  nowMs = 0;
  #audited = 0;

  constructor(count: number) {
    this.all = Array.from({ length: count }, () => {
      const own = {
        knowledge: [] as string[],
        adopted: -1,
        audits: new ForeignAudits({
          learn: ({ decisionId }) => {
            own.knowledge.push(decisionId);
            return true;
          },
          lost: () => {},
        }),
      };
      return own;
    });
  }

  audit(at: number): void {
    // Of an MCP whose stream is here the book learns at once, and nothing is told.
    const decisionId = `d${this.#audited++}`;
    if (at === this.holder) this.all[at]?.knowledge.push(decisionId);
    else this.all[at]?.audits.add(auditOf(decisionId, this.nowMs));
  }

  get audited(): readonly string[] {
    return Array.from({ length: this.#audited }, (_, index) => `d${index}`);
  }

  /** "deaf": the answer of the store is lost; "away": nothing gets there. */
  round(at: number, how: "well" | "deaf" | "away"): void {
    const own = this.all[at];
    if (own === undefined || how === "away") return;
    const held = () => (this.holder === at ? here : nothing);
    this.rows.set(at, {
      word: own.audits.tell(held(), this.nowMs),
      atMs: this.nowMs,
      claims: this.holder === at,
      knowledge: [...own.knowledge],
    });
    if (how === "deaf") return;
    let newest: Row | undefined;
    for (const [other, row] of this.rows) {
      if (other === at || this.nowMs - row.atMs >= limits.routerDigestMaxAgeMs) continue;
      own.audits.hear(row.word, held(), row.atMs, this.nowMs);
      if (row.claims && (newest === undefined || row.atMs > newest.atMs)) newest = row;
    }
    if (this.holder !== at && newest !== undefined && newest.atMs > own.adopted) {
      own.knowledge = [...newest.knowledge];
      own.adopted = newest.atMs;
    }
  }

  calm(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      this.nowMs += 1_000;
      for (const at of this.all.keys()) this.round(at, "well");
    }
  }

  get known(): readonly string[] {
    return this.all[this.holder]?.knowledge ?? [];
  }
}

const coordinator = fc.nat(2);
const audit = fc.record({ kind: fc.constant("audit" as const), at: coordinator });
const move = fc.record({ kind: fc.constant("move" as const), at: coordinator });
const wait = fc.record({ kind: fc.constant("wait" as const), at: fc.integer({ min: 0, max: 4_000 }) });
const round = fc.record({ kind: fc.constant("round" as const), at: coordinator, how: fc.constantFrom("well", "well", "deaf", "away") });

describe("what is known of an MCP", () => {
  test("has no audit in it twice, whatever is lost or repeated, and wherever the stream moves", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(audit, move, wait, round, round), { maxLength: 80 }), (actions) => {
        const all = new Coordinators(3);
        for (const action of actions) {
          if (action.kind === "audit") all.audit(action.at);
          else if (action.kind === "move") all.holder = action.at;
          else if (action.kind === "wait") all.nowMs += action.at;
          else all.round(action.at, action.how as "well");
          for (const { knowledge } of all.all) expect(new Set(knowledge).size).toBe(knowledge.length);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("has every audit in it once when coordinators miss some rounds and the stream stays", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(audit, wait, round, round), { maxLength: 60 }), (actions) => {
        const all = new Coordinators(3);
        for (const action of actions) {
          if (action.kind === "audit") all.audit(action.at);
          else if (action.kind === "wait") all.nowMs += action.at;
          else if (action.kind === "round") all.round(action.at, action.how as "well");
          // Nobody is away for so long that an audit is given up.
          if (all.nowMs % 40_000 > 30_000) all.calm(3);
        }
        all.calm(3);
        expect([...all.known].sort()).toEqual([...all.audited].sort());
      }),
      { numRuns: 500 },
    );
  });

  test("has every audit of another coordinator in it once when the stream moves between two rounds", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ auditor: coordinator, to: coordinator, order: fc.shuffledSubarray([0, 1, 2], { minLength: 3 }), movesAt: fc.nat(3) }),
          {
            maxLength: 12,
          },
        ),
        (seconds) => {
          const all = new Coordinators(3);
          for (const { auditor, to, order, movesAt } of seconds) {
            if (auditor !== all.holder) all.audit(auditor);
            all.nowMs += 1_000;
            for (const [index, at] of order.entries()) {
              if (index === movesAt) all.holder = to;
              all.round(at, "well");
            }
            // Until the new holder's word is read, it stays.
            all.calm(2);
          }
          all.calm(3);
          expect([...all.known].sort()).toEqual([...all.audited].sort());
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
