import type { TextSink } from "./output.js";

/** A bar on one line of a terminal that is redrawn in place; nothing at all where the output is no terminal. */
export type Progress = {
  /** `done` of `total`, and what to say beside it. */
  readonly update: (done: number, total: number, note: string) => void;
  /** Removes the bar. */
  readonly clear: () => void;
};

const barWidth = 28;
/** Redrawing faster only flickers. */
const redrawMs = 100;
const columnsDefault = 80;

export function createProgress(sink: TextSink, label: string, monotonicMs: () => number): Progress {
  if (sink.isTTY !== true) return { update: () => undefined, clear: () => undefined };
  let drawnAtMs = Number.NEGATIVE_INFINITY;
  return {
    update: (done, total, note) => {
      const nowMs = monotonicMs();
      if (nowMs - drawnAtMs < redrawMs && done < total) return;
      drawnAtMs = nowMs;
      const width = Math.max(20, (sink.columns ?? columnsDefault) - 1);
      sink.write(`\r\u001b[K${progressLine(label, done, total, note).slice(0, width)}`);
    },
    clear: () => {
      sink.write("\r\u001b[K");
    },
  };
}

/** One line: label, bar, share, note. A `total` of 0 is complete. */
export function progressLine(label: string, done: number, total: number, note: string): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.floor(share * barWidth);
  return `${label} [${"#".repeat(filled)}${"-".repeat(barWidth - filled)}] ${Math.floor(share * 100)}% ${note}`;
}
