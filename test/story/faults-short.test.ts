import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRng } from "../../src/platform/rng.js";
import { type Audit, addAudits, emptyAudit } from "../faults/audit.js";
import type { Disturbance } from "../faults/fault.js";
import { linkFaults } from "../faults/link-faults.js";
import { Load } from "../faults/load.js";
import { processFaults } from "../faults/process-faults.js";
import { openSite, type Site } from "../faults/site.js";
import { storeFaults } from "../faults/store-faults.js";
import { findPostgres } from "../support/postgres.js";

const seed = Number(process.env.SEED ?? 20_261_120);
const hasPostgres = findPostgres().kind === "found";
const everyFault: readonly Disturbance[] = [...processFaults, ...storeFaults, ...linkFaults];

/** The short part of the fault suite: the same plan of events and faults in every run. `make faults` is the long one. */
describe.runIf(hasPostgres)(`faults against real processes, briefly (SEED=${seed})`, () => {
  let site: Site;
  let load: Load;
  let audits: Audit = emptyAudit;

  beforeAll(async () => {
    site = await openSite({ seats: 2 });
    load = new Load({ target: site.target, sessions: 8, perSecond: 600, seed, name: "short", admin: site.admin, witnessEvery: 20 });
  });
  afterAll(async () => {
    await load?.[Symbol.asyncDispose]();
    await site?.[Symbol.asyncDispose]();
  });

  /** Begins a round, and resolves when enough of it is acknowledged to tell something. */
  async function reporting(): Promise<void> {
    const before = load.ledger.ackedTotal;
    load.start();
    await expect.poll(() => load.ledger.ackedTotal).toBeGreaterThan(before + 200);
  }

  it.each(["F1", "F4", "F7", "F11", "F13"])("%s: nothing acknowledged is lost, nothing is stored twice", async (id) => {
    const fault = everyFault.find((one) => one.id === id);
    expect(fault).toBeDefined();
    await reporting();
    const injected = await fault?.strike({ site, load, rng: seededRng(seed), scale: 0.2, say: () => {} });
    const isSettled = await load.settle(120_000);
    const found = addAudits(await load.auditRound(site.admin, true, isSettled), injected?.audit ?? emptyAudit);
    expect(found.violations).toEqual([]);
    expect(found.counts).toMatchObject({ lost: 0, unexpected: 0, duplicated: 0, indeterminate: 0 });
    expect(found.counts.ok).toBeGreaterThan(100);
    audits = addAudits(audits, found);
  });

  it("compared every row, each in several ways", async () => {
    expect((await load.auditTotal(site.admin)).violations).toEqual([]);
    for (const invariant of ["I1", "I2", "I3", "I4", "I8", "I10"] as const) expect(audits.checked[invariant], invariant).toBeGreaterThan(0);
    expect(Object.fromEntries(load.ledger.verdicts)).toMatchObject({
      STORED: expect.any(Number),
      DUPLICATE: expect.any(Number),
      INVALID: expect.any(Number),
      CONFLICT: expect.any(Number),
    });
  });

  it("finds what is planted in the database: a lost event, a stranger, a merged row that counts twice", async () => {
    await reporting();
    expect(await load.settle(120_000)).toBe(true);
    const events = await site.admin<{ event_id: string; interaction_id: string }[]>`
      SELECT event_id::text, interaction_id FROM interaction_event WHERE mcp_id = 'short-0' ORDER BY interaction_id DESC, event_id LIMIT 40`;
    const [lost, ...rest] = events;
    const counted = rest.find((row) => row.interaction_id !== lost?.interaction_id);
    await site.admin`DELETE FROM interaction_event WHERE event_id = ${lost?.event_id ?? ""}::uuid`;
    await site.admin`UPDATE interaction SET event_count = event_count + 1 WHERE mcp_id = 'short-0' AND interaction_id = ${counted?.interaction_id ?? ""}`;
    await site.admin`
      INSERT INTO interaction_event (event_id, mcp_id, interaction_id, producer_id, kind, source, occurred_at, digest, body)
      SELECT (left(event_id::text, 24) || 'feedfacebeef')::uuid, 'short-1', interaction_id, producer_id, kind, source, occurred_at, digest, body
      FROM interaction_event WHERE event_id = ${counted?.event_id ?? ""}::uuid`;
    const found = await load.auditRound(site.admin, true, true);
    expect(found.counts).toMatchObject({ lost: 1, unexpected: 1, duplicated: 1 });
    const blamed = found.violations.map(({ invariant, what }) => `${invariant} ${what}`);
    expect(blamed).toEqual(
      expect.arrayContaining([
        `I1 ${lost?.event_id} was acknowledged and is not stored`,
        expect.stringMatching(/^I2 .*feedfacebeef of short-1 is stored, and nobody sent it$/),
        expect.stringContaining(`I4 interaction short-0 ${counted?.interaction_id}: eventCount is`),
      ]),
    );
  });
});
