/**
 * A key as it can stand in a header: without the white space around it, as the last line of a file has it. Undefined when it cannot: nothing is left, or it has characters
 * besides printable ASCII, at which HTTP stacks throw.
 */
export function usableKey(text: string): string | undefined {
  const key = text.trim();
  return /^[\x20-\x7e]+$/.test(key) ? key : undefined;
}
