/** At most `maxBytes` of UTF-8, cut between characters; NUL, which Postgres refuses in text, becomes U+FFFD first. */
export function cutText(text: string, maxBytes: number): string {
  const whole = text.replaceAll("\0", "\ufffd");
  const { read } = new TextEncoder().encodeInto(whole, new Uint8Array(maxBytes));
  return whole.slice(0, read);
}
