import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Lead, type LeadEvent, stepLead } from "../../../src/smart-router/lead.js";

const nowMs = 1_000_000;
const shared = { takeoverSilenceMs: 90_000, isAlone: false };
const alone = { ...shared, isAlone: true };

const leads = {
  starting: { kind: "starting" },
  following: { kind: "following", quietSinceMs: nowMs - 1_000 },
  claiming: { kind: "claiming" },
  leading: { kind: "leading", term: 7, version: 41 },
  closed: { kind: "closed" },
} as const satisfies { readonly [K in Lead["kind"]]: Lead & { readonly kind: K } };

type Row = {
  readonly event: LeadEvent;
  /** Where the row is about a `following` that has been quiet for the takeover silence. */
  readonly isQuiet?: boolean;
};

/** Rows of the table in SPEC.md, by their first cell. */
const rows = {
  tick: { event: { kind: "tick" } },
  "read, newer": { event: { kind: "read", ageMs: 1_000, isNewer: true } },
  "read, nothing new": { event: { kind: "read", ageMs: 89_999, isNewer: false } },
  "read, silent": { event: { kind: "read", ageMs: 90_000, isNewer: false }, isQuiet: true },
  "read, none": { event: { kind: "read", ageMs: undefined, isNewer: false } },
  claimed: { event: { kind: "claimed", term: 8, version: 50 } },
  unchanged: { event: { kind: "unchanged" } },
  stored: { event: { kind: "stored" } },
  refused: { event: { kind: "refused" } },
  failed: { event: { kind: "failed" } },
  close: { event: { kind: "close" } },
} as const satisfies Record<string, Row>;

/** Every kind of event stands in a row, or this does not compile. */
type Covered = (typeof rows)[keyof typeof rows]["event"]["kind"];
const coversAll: LeadEvent["kind"] extends Covered ? true : never = true;

/** The table under "Who publishes": row, then state, then the cell. */
function tableInSpec(): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const spec = readFileSync(new URL("../../../src/smart-router/SPEC.md", import.meta.url), "utf8");
  const section = spec.split(/^## /m).find((text) => text.startsWith("Who publishes")) ?? "";
  const cells = section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const [header = [], , ...body] = cells;
  return Object.fromEntries(
    body.map((row) => [row[0] ?? "", Object.fromEntries(header.slice(1).map((state, index) => [state, row[index + 1] ?? ""]))]),
  );
}

function cellOf(lead: Lead, row: Row): string {
  const from: Lead = row.isQuiet === true && lead.kind === "following" ? { kind: "following", quietSinceMs: nowMs - 90_000 } : lead;
  const { next, effect } = stepLead(from, row.event, nowMs, shared);
  const moved = next.kind === lead.kind ? "" : next.kind;
  const changed = next.kind === lead.kind && JSON.stringify(next) !== JSON.stringify(from) ? changeOf(next) : "";
  return [moved, changed, effect === "none" ? "" : `${effect}`].filter((part) => part !== "").join(", ") || "–";
}

function changeOf(lead: Lead): string {
  return lead.kind === "leading" ? `version ${lead.version - leads.leading.version === 1 ? "+1" : "?"}` : "quiet from now";
}

describe("who publishes", () => {
  const table = tableInSpec();

  test("SPEC.md has a row for every event and a column for every state", () => {
    expect(coversAll).toBe(true);
    expect(Object.keys(table)).toEqual(Object.keys(rows));
    for (const row of Object.values(table)) expect(Object.keys(row)).toEqual(Object.keys(leads));
  });

  for (const [name, row] of Object.entries(rows)) {
    for (const lead of Object.values(leads)) {
      test(`${lead.kind} × ${name} does what SPEC.md says`, () => {
        expect(cellOf(lead, row)).toBe(table[name]?.[lead.kind]);
      });
    }
  }

  test("a follower that gets the publisher's lock claims at once, and one that has not waits for silence", () => {
    for (const name of ["read, newer", "read, nothing new"] as const) {
      expect(stepLead(leads.following, rows[name].event, nowMs, alone)).toEqual({ next: { kind: "claiming" }, effect: "claim" });
      expect(stepLead(leads.following, rows[name].event, nowMs, shared).effect).toBe("none");
    }
  });

  test("a coordinator that is alone with its store claims at the start, however fresh the last publication is", () => {
    expect(stepLead(leads.starting, rows["read, newer"].event, nowMs, alone)).toEqual({ next: { kind: "claiming" }, effect: "claim" });
  });

  test("only observed silence counts: an outage of the store starts the wait anew", () => {
    const quiet: Lead = { kind: "following", quietSinceMs: nowMs - 89_999 };
    const { next } = stepLead(quiet, { kind: "failed" }, nowMs, shared);
    expect(stepLead(next, rows["read, nothing new"].event, nowMs + 89_999, shared).effect).toBe("none");
    expect(stepLead(next, rows["read, nothing new"].event, nowMs + 90_000, shared).effect).toBe("claim");
  });
});
