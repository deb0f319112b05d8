import { readdirSync, readFileSync } from "node:fs";
import { Draw } from "../simulation/draw.js";
import { generateFrame, generateMonster } from "./generate.js";
import { mutate, randomBytes } from "./mutate.js";
import { type FuzzCounts, FuzzTarget } from "./target.js";

/** Frames that every run begins with and mutates: one of each kind, and every one that has broken something. */
export const corpusFolder = new URL("./corpus/", import.meta.url);

export function readCorpus(): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  const names = readdirSync(corpusFolder).sort();
  return names.map((name) => ({ name, bytes: readFileSync(new URL(name, corpusFolder)) }));
}

export type FuzzOptions = {
  readonly cases: number;
  readonly seed: number;
  /** Hears of every hundred thousandth case. */
  readonly progress?: (cases: number, counts: FuzzCounts) => void;
};

/** Cases on one stream, at most, before it is hung up. */
const casesPerStream = 24;

/** The heap may not have grown by more than this at any measuring, whatever was fed. Unit: bytes. */
const heapGrowthMaxBytes = 96 * 1024 * 1024;

/**
 * Feeds `cases` frames, the same ones for the same seed.
 * Errors: with the seed, the number of the case and its bytes in hex, when a promise is broken or anything is thrown.
 */
export async function runFuzz({ cases, seed, progress }: FuzzOptions): Promise<FuzzCounts> {
  const draw = new Draw(seed);
  const target = new FuzzTarget();
  const corpus = readCorpus().map(({ bytes }) => bytes);
  const heapAtStart = measureHeap();
  let bytes: Uint8Array = new Uint8Array();
  let number = 0;
  try {
    for (; number < cases; number += 1) {
      bytes = number < corpus.length ? (corpus[number] ?? bytes) : generate(draw, corpus);
      await target.feed(bytes);
      if (number % casesPerStream === casesPerStream - 1) await target.hangUp();
      if (number % 100_000 === 99_999) {
        progress?.(number + 1, target.counts);
        const grown = measureHeap() - heapAtStart;
        if (grown > heapGrowthMaxBytes) throw new Error(`the heap has grown by ${Math.round(grown / 1024 / 1024)} MiB`);
      }
    }
    await target.hangUp();
  } catch (thrown) {
    const hex = Buffer.from(bytes.subarray(0, 4_096)).toString("hex");
    throw new Error(`seed ${seed}, case ${number}, ${bytes.length} bytes: ${hex}`, { cause: thrown });
  } finally {
    target.close();
  }
  return target.counts;
}

function generate(draw: Draw, corpus: readonly Uint8Array[]): Uint8Array {
  switch (draw.weighted({ frame: 40, mutant: 35, corpus: 15, random: 10, monster: 0.02 })) {
    case "frame":
      return generateFrame(draw);
    case "mutant":
      return mutate(draw, generateFrame(draw), draw.pick(corpus));
    case "corpus":
      return mutate(draw, draw.pick(corpus), draw.pick(corpus));
    case "random":
      return randomBytes(draw);
    case "monster":
      return generateMonster(draw);
  }
}

/** Live bytes; exact when the process was started with --expose-gc. */
function measureHeap(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
