import { compareIds } from "./order.js";
import type { McpDigest } from "./signals/digests.js";
import type { SharedKnowledge } from "./signals/shared-knowledge.js";

/** What one coordinator has said: of every MCP whose stream it held. `atMs` is when it wrote that, on our monotonic clock. */
export type Word = {
  readonly coordinatorId: string;
  readonly runId: string;
  readonly seq: number;
  readonly atMs: number;
  readonly mcps: readonly McpDigest[];
  /** Sums of its shared regression. */
  readonly shared: SharedKnowledge;
};

/** The last word of each coordinator, by its name. */
export type Heard = ReadonlyMap<string, Word>;

/** The later of two words of one coordinator; of one word read twice, the reading that makes it younger. */
function later(a: Word, b: Word): Word {
  if (a.seq !== b.seq) return a.seq > b.seq ? a : b;
  if (a.runId !== b.runId) return a.runId > b.runId ? a : b;
  return a.atMs >= b.atMs ? a : b;
}

/** Both together. Commutative, associative and idempotent, so that it does not matter what is read how often, in which order and by which way. */
export function mergeHeard(a: Heard, b: Heard): Heard {
  const merged = new Map(a);
  for (const [coordinatorId, word] of b) {
    const known = merged.get(coordinatorId);
    merged.set(coordinatorId, known === undefined ? word : later(known, word));
  }
  return merged;
}

/** Without words older than `maxAgeMs`: those coordinators are taken for gone. */
export function forgetSilent(heard: Heard, nowMs: number, maxAgeMs: number): Heard {
  return new Map([...heard].filter(([, word]) => nowMs - word.atMs <= maxAgeMs));
}

/** An MCP whose stream another coordinator holds. */
export type Elsewhere = { readonly word: Word; readonly digest: McpDigest };

/**
 * Where each MCP is that is not held here, by mcpId. While a stream moves, two coordinators may claim it for a moment: then that counts which heard of it last.
 * Shape: ascending by mcpId.
 */
export function whereabouts(heard: Heard, heldHere: ReadonlySet<string>): ReadonlyMap<string, Elsewhere> {
  const found = new Map<string, Elsewhere>();
  for (const word of heard.values()) {
    for (const digest of word.mcps) {
      if (heldHere.has(digest.mcpId)) continue;
      const known = found.get(digest.mcpId);
      if (known === undefined || isBetter({ word, digest }, known)) found.set(digest.mcpId, { word, digest });
    }
  }
  return new Map([...found].sort(([a], [b]) => compareIds(a, b)));
}

function isBetter(one: Elsewhere, other: Elsewhere): boolean {
  const [heardAt, otherHeardAt] = [heardAtMs(one), heardAtMs(other)];
  return heardAt === otherHeardAt ? compareIds(one.word.coordinatorId, other.word.coordinatorId) < 0 : heardAt > otherHeardAt;
}

function heardAtMs({ word, digest }: Elsewhere): number {
  return digest.heardAgeMs < 0 ? Number.NEGATIVE_INFINITY : word.atMs - digest.heardAgeMs;
}
