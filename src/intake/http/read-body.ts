import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";

/** Bytes of the bodies that are being read, over all requests. */
export type BodyBudget = { used: number };

const gunzipAsync = promisify(gunzip);

/**
 * The JSON value of a request's body, plain or gzip.     Bounds: `limits.frameMaxBytes` before and after inflating; `limits.httpBodiesMaxBytes` over all that are read at once.
 * Errors: `invalid` with CONTENT_TYPE_UNSUPPORTED, MESSAGE_TOO_LARGE or UNDECODABLE_FRAME; `unavailable` with QUEUE_FULL, or CALL_CANCELLED when the caller went away.
 */
export async function readJson(request: IncomingMessage, budget: BodyBudget): Promise<unknown> {
  const encoding = checkType(request);
  const held = { bytes: 0 };
  try {
    const bytes = await readBytes(request, budget, held);
    return parse(encoding === "gzip" ? await inflate(bytes, budget, held) : bytes);
  } finally {
    budget.used -= held.bytes;
  }
}

/** Refuses what is not JSON in UTF-8; gives how it is encoded. */
function checkType(request: IncomingMessage): "gzip" | "identity" {
  const [type = "", ...parameters] = (request.headers["content-type"] ?? "").toLowerCase().split(";");
  const charset = parameters.map((text) => text.trim()).find((text) => text.startsWith("charset="));
  const isJson = type.trim() === "application/json" && (charset === undefined || /^charset="?utf-?8"?$/.test(charset));
  if (!isJson)
    throw unsupported(`send content-type: application/json, in UTF-8; this is ${type.trim() === "" ? "none" : `"${type.slice(0, 64)}"`}`);
  const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (encoding !== "gzip" && encoding !== "identity") throw unsupported("send the body plain, or with content-encoding: gzip");
  return encoding;
}

function readBytes(request: IncomingMessage, budget: BodyBudget, held: { bytes: number }): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limits.frameMaxBytes) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const onData = (chunk: Buffer) => {
      held.bytes += chunk.length;
      budget.used += chunk.length;
      if (held.bytes > limits.frameMaxBytes) fail(tooLarge());
      else if (budget.used > limits.httpBodiesMaxBytes) fail(full());
      else chunks.push(chunk);
    };
    const onEnd = () => resolve(Buffer.concat(chunks));
    const onClose = () => fail(new CoordinatorError("unavailable", "the caller went away", { reason: "CALL_CANCELLED" }));
    const fail = (error: CoordinatorError) => {
      request.off("data", onData).off("end", onEnd).off("close", onClose);
      request.resume(); // what else comes is read and dropped, so that the answer can be heard; Node ends it at requestTimeout
      reject(error);
    };
    request.on("data", onData).once("end", onEnd).once("close", onClose).once("error", onClose);
  });
}

async function inflate(bytes: Buffer, budget: BodyBudget, held: { bytes: number }): Promise<Buffer> {
  held.bytes += limits.frameMaxBytes;
  budget.used += limits.frameMaxBytes;
  if (budget.used > limits.httpBodiesMaxBytes) throw full();
  try {
    return await gunzipAsync(bytes, { maxOutputLength: limits.frameMaxBytes });
  } catch (thrown) {
    // Translated: zlib says whether it is no gzip or too much of it.
    const isTooLarge = thrown instanceof Error && "code" in thrown && thrown.code === "ERR_BUFFER_TOO_LARGE";
    throw isTooLarge ? tooLarge() : undecodable("the body is not gzip");
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (thrown) {
    // Translated: a SyntaxError tells where, a TypeError that it is no UTF-8.
    throw undecodable(thrown instanceof SyntaxError ? `the body is not JSON: ${thrown.message}` : "the body is not UTF-8");
  }
}

function undecodable(message: string): CoordinatorError {
  return new CoordinatorError("invalid", message, { reason: "UNDECODABLE_FRAME" });
}

function unsupported(message: string): CoordinatorError {
  return new CoordinatorError("invalid", message, { reason: "CONTENT_TYPE_UNSUPPORTED" });
}

function tooLarge(): CoordinatorError {
  return new CoordinatorError("invalid", `the body has more than ${limits.frameMaxBytes} bytes`, { reason: "MESSAGE_TOO_LARGE" });
}

function full(): CoordinatorError {
  const message = "Service temporarily unavailable: too many bytes of bodies are being read";
  return new CoordinatorError("unavailable", message, { reason: "QUEUE_FULL", retryAfterMs: 1_000 });
}
