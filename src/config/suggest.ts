import { limits } from "../platform/limits.js";

/** Of longer words the first so many are compared. Unit: UTF-16 units. */
const comparedMax = 64;
/** Most candidates that are named at once: more are no suggestion. */
const namedMax = 2;

/**
 * The candidates that `word` was probably meant to be, those that are as near as the nearest; empty when none is near. Near is a name with few letters changed, and one with all parts of
 * the word in it: "port" is nearer to "grpc_port" than to "host".
 * Bound: a distance of a third of the word's length, at least two; case and "-", "_" do not count. At most two are given.
 */
export function suggest(word: string, candidates: readonly string[]): readonly string[] {
  const wanted = plain(word);
  const parts = partsOf(word);
  let nearest = Math.max(2, Math.floor(Math.min(wanted.length, comparedMax) / 3));
  let found: string[] = [];
  for (const candidate of candidates) {
    const distance = Math.min(editDistance(wanted, plain(candidate)), partsDistance(parts, partsOf(candidate)));
    if (distance < nearest) found = [];
    if (distance <= nearest) found.push(candidate);
    nearest = Math.min(nearest, distance);
  }
  return found.slice(0, namedMax);
}

/** "; did you mean …?", or nothing. */
export function suggestion(word: string, candidates: readonly string[]): string {
  return asked(suggest(word, candidates));
}

/** The same for names that were found already. */
export function asked(names: readonly string[]): string {
  return names.length === 0 ? "" : `; did you mean ${names.join(" or ")}?`;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, "");
}

/** "MCPC_SERVER__GRPC_PORT" → mcpc, server, grpc, port. */
function partsOf(word: string): readonly string[] {
  return word
    .slice(0, limits.idMaxBytes)
    .toLowerCase()
    .split(/[-_]+/)
    .filter((part) => part !== "");
}

/** How far `candidate` is from a name that has all of `parts` in it: letters that differ, and a letter for each part too many. Infinite when one is not there at all. */
function partsDistance(parts: readonly string[], candidate: readonly string[]): number {
  if (parts.length === 0) return Number.POSITIVE_INFINITY;
  let distance = Math.max(0, candidate.length - parts.length);
  for (const part of parts) {
    const nearest = Math.min(...candidate.map((other) => editDistance(part, other)));
    distance += nearest <= Math.floor(part.length / 4) ? nearest : Number.POSITIVE_INFINITY;
  }
  return distance;
}

/** Levenshtein's distance over UTF-16 units, one row at a time. */
function editDistance(left: string, right: string): number {
  const [rows, columns] = [left.slice(0, comparedMax), right.slice(0, comparedMax)];
  let previous = Array.from({ length: columns.length + 1 }, (_, index) => index);
  for (let row = 1; row <= rows.length; row++) {
    const current = [row];
    for (let column = 1; column <= columns.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (rows[row - 1] === columns[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[columns.length] ?? 0;
}
