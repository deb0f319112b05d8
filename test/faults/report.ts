import { writeFileSync } from "node:fs";
import { type Audit, type AuditCounts, addAudits, emptyAudit } from "./audit.js";

/** One fault as it went. */
export type ReportRow = {
  readonly id: string;
  readonly title: string;
  readonly seed: number;
  readonly what: string;
  readonly seconds: number;
  readonly injected: number;
  readonly acked: number;
  readonly counts: AuditCounts;
  readonly violations: readonly string[];
  readonly figures: Readonly<Record<string, number | string>>;
  readonly skipped?: string;
};

/** What was true of the processes before and after. */
export type Baseline = {
  readonly heapMib: number;
  readonly rssMib: number;
  readonly fds: number;
  readonly handles: number;
  readonly connections: number;
};

/** Milliseconds. */
export type Spread = { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };

export type Totals = {
  readonly seed: number;
  readonly minutes: number;
  readonly acked: number;
  readonly injected: number;
  readonly counts: AuditCounts;
  readonly checked: Audit["checked"];
  readonly verdicts: Readonly<Record<string, number>>;
  /** To the next ack of a session, from the loss of its connection and from the attempt that succeeded, over the rounds of F1. */
  readonly killGap: { readonly lossToAck: Spread; readonly reconnectToAck: Spread };
  readonly before: Baseline | undefined;
  readonly after: Baseline | undefined;
  /** Of the coordinators' heap after a collection, over the samples of the run. MiB per hour. */
  readonly heapSlopeMibPerHour: number | undefined;
  /** How many lives of coordinators took each cell and step of the session table. */
  readonly steps: Readonly<Record<string, number>>;
  readonly missing: readonly string[];
  readonly violations: readonly string[];
};

/** Collects what the faults did; prints a line for each, and a table at the end. */
export class Report {
  readonly rows: ReportRow[] = [];
  #audit: Audit = emptyAudit;
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  get audit(): Audit {
    return this.#audit;
  }
  get acked(): number {
    return this.rows.reduce((sum, row) => sum + row.acked, 0);
  }
  get injected(): number {
    return this.rows.reduce((sum, row) => sum + row.injected, 0);
  }

  add(row: Omit<ReportRow, "counts" | "violations">, audit: Audit): void {
    this.#audit = addAudits(this.#audit, audit);
    const violations = audit.violations.map(({ invariant, what }) => `${invariant}: ${what}`);
    this.rows.push({ ...row, counts: audit.counts, violations });
    if (row.skipped !== undefined) {
      this.#print(`${row.id.padEnd(5)} SKIPPED: ${row.skipped}`);
      return;
    }
    const { ok, lost, duplicated, unexpected } = this.#audit.counts;
    const verdict = violations.length === 0 ? "ok  " : "FAIL";
    this.#print(
      `${row.id.padEnd(5)} ${verdict} seed ${row.seed} ${row.seconds.toFixed(1).padStart(5)} s · ${row.what} · total: acked ${this.acked}, checked ${ok}, lost ${lost}, duplicated ${duplicated}, unexpected ${unexpected}`,
    );
    for (const line of violations.slice(0, 5)) this.#print(`        ${line}`);
  }

  /** The table at the end, and the file. */
  close(totals: Totals, file: string | undefined): void {
    const byFault = new Map<string, { count: number; injected: number; acked: number; failed: number; skipped: number }>();
    for (const row of this.rows) {
      const sum = byFault.get(row.id) ?? { count: 0, injected: 0, acked: 0, failed: 0, skipped: 0 };
      sum.count += 1;
      sum.injected += row.injected;
      sum.acked += row.acked;
      if (row.violations.length > 0) sum.failed += 1;
      if (row.skipped !== undefined) sum.skipped += 1;
      byFault.set(row.id, sum);
    }
    this.#print("\nfault  rounds  injected      acked  failed");
    for (const [id, sum] of byFault) {
      const note = sum.skipped > 0 ? "  skipped" : "";
      this.#print(`${id.padEnd(6)} ${pad(sum.count, 6)} ${pad(sum.injected, 9)} ${pad(sum.acked, 10)} ${pad(sum.failed, 7)}${note}`);
    }
    const { counts, killGap, before, after } = totals;
    this.#print(
      `\nacked events ${totals.acked} · faults injected ${totals.injected} · seed ${totals.seed} · ${totals.minutes.toFixed(1)} min`,
    );
    this.#print(
      `lost ${counts.lost} · duplicated ${counts.duplicated} · unexpected ${counts.unexpected} · indeterminate ${counts.indeterminate} · ok ${counts.ok}`,
    );
    this.#print(
      `checked: ${Object.entries(totals.checked)
        .map(([name, count]) => `${name} ×${count}`)
        .join(", ")}`,
    );
    this.#print(
      `verdicts: ${Object.entries(totals.verdicts)
        .map(([name, count]) => `${name} ${count}`)
        .join(", ")}`,
    );
    for (const [from, { count, p50, p99, max }] of [
      ["loss of the connection", killGap.lossToAck],
      ["reconnect", killGap.reconnectToAck],
    ] as const)
      if (count > 0) this.#print(`kill -9, ${from} to the next ack: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms (${count})`);
    if (before !== undefined && after !== undefined) {
      this.#print("           heap MiB  RSS MiB   fds  handles  pg connections");
      for (const [name, at] of [
        ["before", before],
        ["after", after],
      ] as const)
        this.#print(
          `${name.padEnd(9)} ${pad(at.heapMib, 9)} ${pad(at.rssMib, 8)} ${pad(at.fds, 5)} ${pad(at.handles, 8)} ${pad(at.connections, 15)}`,
        );
    }
    if (totals.heapSlopeMibPerHour !== undefined) this.#print(`heap slope ${totals.heapSlopeMibPerHour.toFixed(1)} MiB/h`);
    for (const what of totals.missing) this.#print(`NOT COVERED: ${what}`);
    this.#print(
      totals.violations.length === 0 && totals.missing.length === 0
        ? "\npassed"
        : `\nFAILED: ${totals.violations.length} violations; again with SEED=${totals.seed}`,
    );
    if (file !== undefined) writeFileSync(file, `${JSON.stringify({ ...totals, rows: this.rows }, undefined, 1)}\n`);
  }
}

const pad = (value: number, width: number): string => String(value).padStart(width);

/** Milliseconds as p50, p99 and maximum. */
export function spreadOf(values: readonly number[]): Spread {
  return { count: values.length, p50: percentile(values, 0.5), p99: percentile(values, 0.99), max: percentile(values, 1) };
}

/** The value below which a share of the values lies; 0 of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
}

/** Least-squares slope of y over x; undefined for fewer than three points. */
export function slopeOf(points: readonly (readonly [number, number])[]): number | undefined {
  if (points.length < 3) return undefined;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return spread === 0 ? undefined : points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
}
