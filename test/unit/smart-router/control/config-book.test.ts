import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { CoordinatorError } from "../../../../src/platform/errors.js";
import { limits } from "../../../../src/platform/limits.js";
import { type ConfigRow, type ConfigWrite, createConfigBook } from "../../../../src/smart-router/control/config-book.js";
import type { OperatorChange } from "../../../../src/smart-router/control/operator-config.js";
import { plainTarget, type TargetConfig } from "../../../../src/smart-router/router.js";
import { ManualClock } from "../../../support/manual-clock.js";

/** The one row that all coordinators share. */
class Row {
  row: ConfigRow = { version: 0, document: {}, changedAtMs: undefined, changedBy: "" };
  readonly writes: ConfigWrite[] = [];
  isAway = false;

  readonly read = async (): Promise<ConfigRow> => {
    if (this.isAway) throw new Error("away");
    return this.row;
  };
  readonly write = async (write: ConfigWrite): Promise<ConfigRow | undefined> => {
    if (write.ifVersion !== this.row.version) return undefined;
    this.writes.push(write);
    this.row = {
      version: this.row.version + 1,
      document: JSON.parse(JSON.stringify(write.document)),
      changedAtMs: 5,
      changedBy: write.changedBy,
    };
    return this.row;
  };
}

/** A coordinator over the row; `told` is what its router was told. */
function openBook(row: Row, log = pino({ level: "silent" })) {
  const clock = new ManualClock(1_780_000_000_000);
  const told: (TargetConfig | string | readonly string[])[] = [];
  const book = createConfigBook({
    read: row.read,
    write: row.write,
    router: {
      configure: (config) => void told.push(config),
      switchPolicy: (id) => void told.push(id),
      setShadows: (ids) => void told.push(ids),
    },
    baseOf: (mcpId) => ({ ...plainTarget(mcpId), capabilities: ["ocr"] }),
    knownPolicyIds: new Set(["p/1", "q/1", "r/1"]),
    defaults: { policyId: "p/1", shadowPolicyIds: ["r/1"] },
    coordinatorId: "c",
    clock,
    log,
  });
  return { book, clock, told };
}

const change = (more: Partial<OperatorChange>): OperatorChange => ({
  policyId: undefined,
  shadowPolicyIds: undefined,
  mcps: [],
  reset: [],
  ...more,
});
const ask = (more: Partial<OperatorChange>, ifVersion = 0) => ({ change: change(more), changedBy: "ops", reason: "trial", ifVersion });
const drainA = {
  mcps: [{ mcpId: "a", priority: undefined, weight: undefined, maxConcurrent: undefined, costPerRequest: undefined, isDraining: true }],
};

describe("the configuration in force", () => {
  it("is the defaults until somebody changes something, and then at once what was stored", async () => {
    const row = new Row();
    const { book, told } = openBook(row);
    await book.start();
    expect(book.current()).toMatchObject({ version: 0, policyId: "p/1", shadowPolicyIds: ["r/1"] });
    expect(told).toEqual([]);
    await book.change(ask({ policyId: "q/1", ...drainA }));
    expect(told).toEqual([{ ...plainTarget("a"), capabilities: ["ocr"], isDraining: true, isExpected: true }, "q/1", ["r/1"]]);
    expect(book.current()).toMatchObject({ version: 1, policyId: "q/1", changedBy: "ops" });
    expect(row.writes[0]).toMatchObject({ ifVersion: 0, reason: "trial", coordinatorId: "c" });
    expect(row.writes[0]?.changes.map(({ setting }) => setting)).toEqual(["policy_id", "mcps[a].drain"]);
    book.close();
  });

  it("is taken over by the other coordinator within one poll, and given back when the operator takes it back", async () => {
    const row = new Row();
    const [one, other] = [openBook(row), openBook(row)];
    await other.book.start();
    await one.book.change(ask(drainA));
    await other.clock.advance(limits.routingConfigPollMs);
    expect(other.told).toEqual([expect.objectContaining({ mcpId: "a", isDraining: true })]);
    await one.book.change(ask({ reset: ["a"] }));
    await other.clock.advance(limits.routingConfigPollMs);
    expect(other.told.at(-1)).toEqual({ ...plainTarget("a"), capabilities: ["ocr"] });
    expect(other.book.current().version).toBe(2);
    other.book.close();
  });

  it("does not ask a policy along with itself, and begins again to when another is in force", async () => {
    const { book, told } = openBook(new Row());
    await book.change(ask({ policyId: "r/1" }));
    expect(told).toEqual(["r/1", []]);
    await book.change(ask({ policyId: "p/1" }));
    expect(told.slice(2)).toEqual(["p/1", ["r/1"]]);
  });

  it("refuses a change for another version, stores none for a change that changes nothing, and tries again when another was faster", async () => {
    const row = new Row();
    const { book } = openBook(row);
    await book.change(ask({ policyId: "q/1" }));
    const refusal = await book.change(ask({ policyId: "p/1" }, 7)).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(CoordinatorError);
    expect(refusal).toMatchObject({ code: "conflict", reason: "CONFIG_CHANGED", metadata: { version: "1" } });
    expect((await book.change(ask({ policyId: "q/1" }))).version).toBe(1);
    const [first, second] = await Promise.all([book.change(ask({ policyId: "p/1" })), book.change(ask(drainA))]);
    expect([first.version, second.version].sort()).toEqual([2, 3]);
    expect(row.row.document).toMatchObject({ policyId: "p/1", mcps: [{ mcpId: "a", isDraining: true }] });
  });

  it("outlives an outage, a document that it cannot read, and a policy that only a newer coordinator knows", async () => {
    const row = new Row();
    const { book, clock, told } = openBook(row);
    await book.change(ask({ policyId: "q/1" }));
    await book.start();
    row.isAway = true;
    await clock.advance(5 * limits.routingConfigPollMs);
    await expect(book.change(ask({ policyId: "p/1" }))).rejects.toThrow("away");
    row.isAway = false;
    row.row = { ...row.row, version: 2, document: { mcps: 7 } };
    await clock.advance(limits.routingConfigPollMs);
    expect(book.current()).toMatchObject({ version: 1, policyId: "q/1" });
    row.row = { ...row.row, version: 3, document: { policyId: "newer/9", shadowPolicyIds: ["newer/8", "q/1"] } };
    await clock.advance(limits.routingConfigPollMs);
    expect(book.current()).toMatchObject({ version: 3, policyId: "p/1", shadowPolicyIds: ["q/1"] });
    expect(told.slice(-2)).toEqual(["p/1", ["q/1"]]);
    book.close();
    expect(clock.timerCount).toBe(0);
  });

  it("leaves what a newer coordinator stored and it does not know as it is, but for MCPs that are taken back", async () => {
    const row = new Row();
    const { book } = openBook(row);
    const mcps = ["a", "b", "c"].map((mcpId) => ({ mcpId, weight: 50, region: "eu" }));
    row.row = { ...row.row, version: 4, document: { policyId: "q/1", mcps, canary: { share: 0.1 } } };
    const weight = (mcpId: string, to: number) => ({
      mcpId,
      priority: undefined,
      weight: to,
      maxConcurrent: undefined,
      costPerRequest: undefined,
      isDraining: undefined,
    });
    await book.change(ask({ reset: ["b", "c"], mcps: [weight("a", 70), weight("b", 80)] }));
    expect(row.row.document).toEqual({
      policyId: "q/1",
      canary: { share: 0.1 },
      mcps: [
        { mcpId: "a", weight: 70, region: "eu" },
        { mcpId: "b", weight: 80 },
      ],
    });
  });

  it("refuses to change what it cannot read, instead of replacing it, and complains once", async () => {
    const row = new Row();
    const complaints: string[] = [];
    const { book, clock } = openBook(row, pino({ level: "error" }, { write: (line) => void complaints.push(line) }));
    const document = { mcps: { a: { weight: 7 } } };
    row.row = { ...row.row, version: 4, document };
    await book.start();
    await clock.advance(5 * limits.routingConfigPollMs);
    await expect(book.change(ask({ policyId: "q/1" }))).rejects.toMatchObject({
      ...{ code: "conflict", reason: "CONFIG_UNREADABLE", metadata: { version: "4" } },
    });
    expect(row.row.document).toBe(document);
    expect(complaints).toHaveLength(1);
    book.close();
  });

  it("tells the router again what counts for an MCP that registers anew", async () => {
    const { book, told } = openBook(new Row());
    await book.change(ask(drainA));
    book.refresh("a");
    book.refresh("b");
    expect(told.slice(1)).toEqual([
      expect.objectContaining({ mcpId: "a", isDraining: true }),
      { ...plainTarget("b"), capabilities: ["ocr"] },
    ]);
  });

  it("never grows beyond what the router remembers", async () => {
    const { book } = openBook(new Row());
    const override = (mcpId: string) => ({
      mcpId,
      priority: 1,
      weight: undefined,
      maxConcurrent: undefined,
      costPerRequest: undefined,
      isDraining: undefined,
    });
    await book.change(ask({ mcps: Array.from({ length: limits.routedMcpMax }, (_, at) => override(`m-${at}`)) }));
    await expect(book.change(ask({ mcps: [override("one-more")] }))).rejects.toMatchObject({ code: "invalid", reason: "FIELD_VIOLATION" });
  });
});
