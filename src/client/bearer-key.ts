/** A bearer key as a header carries it: without blanks or a line end around it. Undefined when no header can carry it; its text is not for messages. */
export function parseBearerKey(text: string): string | undefined {
  const key = text.trim();
  return /^[!-~]*$/.test(key) ? key : undefined;
}
