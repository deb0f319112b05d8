import type { AuditWord } from "../foreign-audits.js";
import type { ForeignEnd } from "../foreign-ends.js";
import type { HealthWord } from "../health/told.js";
import { featureCount } from "../learn/features.js";
import type { LocalSignalBook } from "./book.js";
import type { McpDigest } from "./digests.js";
import type { SharedKnowledge } from "./shared-knowledge.js";

/** Version of the text; another one is not read. Grows with every change of `McpDigest` that an older program would misread. */
export const memoryFormat = 2;

/** What a coordinator has for single others; nothing in a memory for a restart. */
export type News = AuditWord & {
  /** Ends of requests that another coordinator had decided. */
  readonly ends: readonly ForeignEnd[];
};

/** What a coordinator knows, as text for others and for a restart. */
export type MemoryText = News & {
  readonly mcps: readonly McpDigest[];
  readonly shared: SharedKnowledge;
};

const noNews: News = { ends: [], audits: [], learned: [] };

/** Classes and types of each MCP that are told besides everything; -1 tells only that it is there and what it has in flight. */
export type Detail = number;

/**
 * Digests of `held` as JSON of at most `maxBytes`, with as much of `detail` as fits; MCPs of which nothing is known are named too. `nextDetail` is what to try next
 * time: more, when there was much room.
 */
export function renderMemory(
  book: Pick<LocalSignalBook, "digestOf" | "sharedSums">,
  held: readonly (HealthWord & { readonly mcpId: string; readonly inFlight: number })[],
  nowMs: number,
  detail: Detail,
  maxBytes: number,
  news: News = noNews,
): { readonly text: string; readonly nextDetail: Detail } {
  for (let tried = detail; ; tried = tried > 0 ? Math.floor(tried / 2) : -1) {
    const known = new Map(
      book
        .digestOf(
          held.map(({ mcpId }) => mcpId),
          nowMs,
          Math.max(0, tried),
        )
        .map((digest) => [digest.mcpId, digest]),
    );
    const mcps = held.map(({ mcpId, inFlight, health, isSuspect }) => {
      const digest = known.get(mcpId) ?? { ...unknownMcp, mcpId };
      const told = { ...digest, inFlight: Math.max(inFlight, digest.inFlight), health, isSuspect };
      return tried < 0 ? { ...told, cells: [], reports: [] } : told;
    });
    const shared = book.sharedSums(nowMs, Math.max(0, tried) * effectsPerDetail);
    const text = JSON.stringify({ mcps, shared, ...news } satisfies MemoryText);
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxBytes || tried < 0) return { text, nextDetail: bytes * 4 < maxBytes ? Math.max(1, tried * 2) : tried };
  }
}

/** MCPs of a fleet serve more or less the same types: so many times the levels that each is told with. */
const effectsPerDetail = 4;

const unknownMcp: McpDigest = { mcpId: "", revision: 0, inFlight: 0, heardAgeMs: -1, endedAgeMs: -1, reports: [], cells: [] };

/** The memory in a text; undefined when it is none. */
export function parseMemory(text: string): MemoryText | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined; // translated: whoever reads says so and goes on without
  }
  return isMemory(parsed) ? { ...noNews, ...parsed } : undefined;
}

/** Older programs tell nothing of audits. */
function isMemory(value: unknown): value is Omit<MemoryText, keyof AuditWord> & Partial<AuditWord> {
  if (!isRecord(value) || !Array.isArray(value.mcps) || !isRecord(value.shared)) return false;
  if (!Array.isArray(value.ends) || !value.ends.every(isEnd)) return false;
  const { audits = [], learned = [] } = value;
  if (!Array.isArray(audits) || !audits.every(isAudit) || !Array.isArray(learned) || !learned.every(isNamed)) return false;
  const { products, targets, effects } = value.shared;
  if (!Array.isArray(effects) || !effects.every(isEffect)) return false;
  return isNumbers(products) && isNumbers(targets) && targets.length === featureCount && value.mcps.every(isMcp);
}

function isEffect(value: unknown): boolean {
  return isRecord(value) && typeof value.key === "string" && isNumbers([value.sum, value.count, value.ageMs]);
}

function isMcp(value: unknown): boolean {
  if (!isRecord(value) || typeof value.mcpId !== "string" || !isNumbers(value.reports) || !Array.isArray(value.cells)) return false;
  return ["revision", "inFlight", "heardAgeMs", "endedAgeMs"].every((name) => Number.isFinite(value[name])) && value.cells.every(isCell);
}

function isNamed(value: unknown): value is Readonly<Record<string, unknown>> {
  return isRecord(value) && typeof value.decisionId === "string" && typeof value.mcpId === "string";
}

function isAudit(value: unknown): boolean {
  if (!isNamed(value) || !isNumbers([value.quality, value.inputBytes, value.agoMs])) return false;
  return ["requestType", "qualityLevel", "privacyLevel"].every((name) => typeof value[name] === "string");
}

function isEnd(value: unknown): boolean {
  if (!isNamed(value)) return false;
  return typeof value.success === "boolean" && typeof value.errorCode === "string";
}

function isCell(value: unknown): boolean {
  if (!isRecord(value) || typeof value.key !== "string" || !isNumbers(value.sums) || value.sums.length !== 6) return false;
  if (!Array.isArray(value.byLoad) || !value.byLoad.every(isNumbers)) return false;
  return ["ok", "near", "peak", "open", "self", "audited"].every((name) => isNumbers(value[name]));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((one) => Number.isFinite(one));
}
