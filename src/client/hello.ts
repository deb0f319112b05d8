import type { StreamSessionOptions } from "./options.js";
import { helloFrame } from "./wire/control.js";
import type { EncodedFrame } from "./wire/frames.js";

type Hello = Parameters<typeof helloFrame>[0];

/** The first frame of a stream: what the session was told, and what it knows of itself by now. */
export function helloOf(
  { mcpId, instanceVersion = "", labels = {}, ackMode = "coalesced", load }: StreamSessionOptions,
  known: Pick<Hello, "producerId" | "firstHeldSequence" | "resumeSessionId" | "takesMcpConfig">,
): EncodedFrame {
  return helloFrame({ ...known, mcpId, instanceVersion, labels, ackMode, reportsLoad: load !== undefined });
}
