import { createServer } from "node:net";
import { CoordinatorError } from "../platform/errors.js";
import { hostPort } from "../platform/host-port.js";

/**
 * Listens for a moment and lets go again: whoever asks first touches no store for the sake of ports that are not to be had. Port 0 always is.
 * Errors: as bindError.
 */
export async function requireFree(host: string, port: number): Promise<void> {
  if (port === 0) return;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(bindError(hostPort(host, port), error)));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  });
}

/** What the operator hears when an address cannot be had; shared by both ports. */
export function bindError(address: string, cause: Error): CoordinatorError {
  const isTaken = cause.message.includes("EADDRINUSE");
  const sentence = isTaken
    ? `${address} is already in use: another process listens there; stop it or choose another port`
    : `cannot listen on ${address}: ${cause.message}`;
  return new CoordinatorError("failed_precondition", sentence, {
    reason: isTaken ? "ADDRESS_IN_USE" : "ADDRESS_UNUSABLE",
    metadata: { address },
    cause,
  });
}
