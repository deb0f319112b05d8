const surrogateFirst = 0xd800;
const surrogateLast = 0xdfff;

/**
 * Compares two ids by the bytes of their UTF-8 form: the order of every table and of its digest, whatever language computes it.
 * JavaScript's own order is that of UTF-16, which differs where a character beyond U+FFFF meets one from U+E000 up.
 */
export function compareIds(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index += 1) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    const isLeftPair = left >= surrogateFirst && left <= surrogateLast;
    const isRightPair = right >= surrogateFirst && right <= surrogateLast;
    if (isLeftPair === isRightPair) return left - right;
    return isLeftPair ? 1 : -1;
  }
  return a.length - b.length;
}

/** `items` ascending by mcpId, in the order of `compareIds`. */
export function byMcpId<T extends { readonly mcpId: string }>(items: Iterable<T>): T[] {
  return [...items].sort((a, b) => compareIds(a.mcpId, b.mcpId));
}
