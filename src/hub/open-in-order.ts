import type { SessionDeps } from "./surroundings.js";

type OpenProducer = SessionDeps["openProducer"];

/**
 * Opens a producer's sessions one after another, in the order of their Hello; different producers do not wait for each other.
 * A client that gives up on a Welcome and says Hello again has two of them on their way. Over several connections to the database the older could
 * be the last to bump the epoch: then the abandoned stream would fence the live one, and the client would be told to stop for good.
 * Bound: one entry per producer that is being opened, so at most one per session.     Errors: those of `open`, to the caller whose turn failed.
 */
export function openInOrder(open: OpenProducer): OpenProducer {
  const last = new Map<string, Promise<unknown>>();
  return async (producerId, mcpId, sessionId) => {
    const before = last.get(producerId);
    const opened = before === undefined ? open(producerId, mcpId, sessionId) : before.then(() => open(producerId, mcpId, sessionId));
    // Whether it failed is its own caller's business; the next in line only waits for its end.
    const ended = opened.catch(() => undefined);
    last.set(producerId, ended);
    try {
      return await opened;
    } finally {
      if (last.get(producerId) === ended) last.delete(producerId);
    }
  };
}
