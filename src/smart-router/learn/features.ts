import type { RouteRequest } from "../request.js";

/** What quality is regressed on; see `writeFeatures`. */
export const featureCount = 12;
const typeFirst = 6;
const typeBuckets = 4;
const dayMs = 86_400_000;
/** Brings log1p of the size into the range of the other features: e^16 bytes are 9 MB. */
const sizeScale = 16;

/**
 * Writes [1, log1p(size)/16, is low, is high, is internal, is sensitive, four of the type's hash, sin and cos of the hour] to `into`. Levels count as the contract
 * writes them, in lower case; any other text counts as the middle. `wallMs` is wall time.     Source: router.md 1.2.
 */
export function writeFeatures(request: RouteRequest, wallMs: number, into: Float64Array): void {
  into.fill(0);
  into[0] = 1;
  into[1] = request.inputBytes > 0 ? Math.min(2, Math.log1p(request.inputBytes) / sizeScale) : 0;
  if (request.qualityLevel === "low") into[2] = 1;
  else if (request.qualityLevel === "high") into[3] = 1;
  if (request.privacyLevel === "internal") into[4] = 1;
  else if (request.privacyLevel === "sensitive") into[5] = 1;
  into[typeFirst + (hashOf(request.requestType) % typeBuckets)] = 1;
  const turn = ((wallMs % dayMs) / dayMs) * 2 * Math.PI;
  into[10] = Math.sin(turn);
  into[11] = Math.cos(turn);
}

/** FNV-1a over UTF-16 units, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}
