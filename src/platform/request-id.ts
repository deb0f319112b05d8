import { limits } from "./limits.js";

/** The id that a caller gave its request, if it is short printable ASCII: it goes into headers and logs. */
export function parseRequestId(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= limits.requestIdMaxChars && /^[!-~]+$/.test(text) ? text : undefined;
}
