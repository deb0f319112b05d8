import { limits } from "../platform/limits.js";
import type { ErrorReport } from "./report.js";

/**
 * What was thrown, as a report. Total: anything can be thrown, and nothing in it may keep the report from being taken; texts are cut to what a coordinator takes.
 * Shape: type, message and code as documented; no stack, which may hold what is not ours to send.
 */
export function errorOf(thrown: unknown): ErrorReport {
  try {
    if (!(thrown instanceof Error)) return { errorType: typeof thrown, errorMessage: soundText(textOf(thrown), limits.messageMaxBytes) };
    const code: unknown = "code" in thrown ? thrown.code : undefined;
    return {
      errorType: soundText(thrown.name === "Error" ? thrown.constructor.name : String(thrown.name), limits.idMaxBytes),
      errorMessage: soundText(String(thrown.message), limits.messageMaxBytes),
      ...(typeof code === "string" || typeof code === "number" ? { errorCode: soundText(String(code), limits.idMaxBytes) } : {}),
    };
  } catch {
    // Translates: an object whose own members throw was thrown all the same.
    return { errorType: "unreadable" };
  }
}

function textOf(thrown: unknown): string {
  if (typeof thrown === "object" && thrown !== null && "message" in thrown) return String(thrown.message);
  return String(thrown);
}

/** A text that passes: without NUL and halves of surrogate pairs, at most so many bytes of UTF-8. */
function soundText(text: string, maxBytes: number): string {
  // Cut first: no character has less than a byte, and a message may be of any size.
  const sound = text.slice(0, maxBytes).toWellFormed().replaceAll("\0", "\ufffd");
  if (sound.length * 3 <= maxBytes || Buffer.byteLength(sound) <= maxBytes) return sound;
  return new TextDecoder().decode(Buffer.from(sound).subarray(0, maxBytes), { stream: true });
}
