/**
 * The candidate that `word` was probably meant to be, or undefined when none is near.
 * Bound: an edit distance of a third of the word's length, at least two; case and "-", "_" do not count.
 */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  const wanted = plain(word);
  let best: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plain(candidate));
    if (best === undefined || distance < best.distance) best = { candidate, distance };
  }
  return best !== undefined && best.distance <= Math.max(2, Math.floor(wanted.length / 3)) ? best.candidate : undefined;
}

/** "; did you mean …?", or nothing. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const near = suggest(word, candidates);
  return near === undefined ? "" : `; did you mean ${near}?`;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, "");
}

/** Levenshtein's distance over UTF-16 units, one row at a time. Words longer than 64 units are compared by their first 64. */
function editDistance(left: string, right: string): number {
  const [rows, columns] = [left.slice(0, 64), right.slice(0, 64)];
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
