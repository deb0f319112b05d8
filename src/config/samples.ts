import { createHash } from "node:crypto";

/** Keys that stand in published documents. Everybody knows them. */
const sampleKeys = ["sk-mcp-ocr-workflow-001", "sk-mcp-data-analysis-001", "sk-mcp-static-key-1"] as const;

const sampleKeyHashes: ReadonlySet<string> = new Set(sampleKeys.map((key) => sha256Hex(key)));

/** Secrets of the documents, and what people type when they mean to change it later. */
const placeholder = /^(your|my|the|some)[-_ ]|change[-_ ]?me|example|placeholder|dummy/i;

/** Fewest different characters of a secret: 64 random hex digits have about 16, "aaaa…" has one. */
const distinctMin = 8;

export function sha256Hex(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}

export function isSampleKey(sha256: string): boolean {
  return sampleKeyHashes.has(sha256);
}

/** Whether a secret is one that others can guess. */
export function isGuessableSecret(secret: string): boolean {
  return placeholder.test(secret) || new Set(secret).size < distinctMin;
}
