import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";

/** One figure with the target it is held against; `isMet` undefined for a figure that has none. */
export type Figure = {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly target?: string;
  readonly isMet?: boolean;
};

/** Prints the figures of a drill as a table and writes them to `path`. Ends the process with 1 when a target is missed. */
export function conclude(
  name: string,
  settings: Readonly<Record<string, unknown>>,
  figures: readonly Figure[],
  path = `bench/results/drill-${name}.json`,
): void {
  const [cpu] = cpus();
  const machine = { node: process.version, cpus: cpus().length, model: cpu?.model ?? "", kernel: release() };
  mkdirSync("bench/results", { recursive: true });
  writeFileSync(path, `${JSON.stringify({ finishedAt: new Date().toISOString(), machine, settings, figures }, null, 2)}\n`);
  const width = Math.max(...figures.map((figure) => figure.name.length));
  for (const { name: title, value, unit, target, isMet } of figures) {
    const verdict = target === undefined ? "" : `  target ${target}: ${isMet ? "met" : "MISSED"}`;
    process.stdout.write(`${title.padEnd(width)}  ${Number(value.toFixed(2))} ${unit}${verdict}\n`);
  }
  process.stdout.write(`written to ${path}\n`);
  if (figures.some(({ isMet }) => isMet === false)) process.exitCode = 1;
}

/** A count that must be 0. */
export function none(name: string, value: number): Figure {
  return { name, value, unit: "", target: "0", isMet: value === 0 };
}

/** A whole number from the environment. */
export function setting(name: string, fallback: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return fallback;
  if (!/^\d+$/.test(text)) throw new Error(`${name} must be a whole number, not "${text}"`);
  return Number(text);
}

export function say(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits until `condition` holds. Errors: when it does not within `maxMs`, with what was waited for and how it stands. */
export async function until(what: string, maxMs: number, condition: () => boolean, standing?: () => unknown): Promise<void> {
  const deadlineMs = performance.now() + maxMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${maxMs} ms: ${what} ${JSON.stringify(standing?.() ?? "")}`);
    await sleep(20);
  }
}

/** Resident memory in bytes, and processor time since the start in seconds, of a process. Linux only. */
export function readProcess(pid: number): { readonly residentBytes: number; readonly cpuSeconds: number } {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  // Fields 14 and 15, counted behind the name, which may hold anything. Units: ticks of 10 ms. Source: proc(5).
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return { residentBytes: Number(kib) * 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100 };
}
