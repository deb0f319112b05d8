import type { Fleet } from "../hub/fleet.js";
import { limits } from "../platform/limits.js";
import type { Store } from "../store/store.js";
import type { Ends, Machine } from "./machine.js";

/** Acks may be committed in another order than numbered: each look goes back this many, and hears some rejections twice. */
const overlap = 10_000;

/**
 * Tells the fleet which tables were rejected for their content, here before a restart or on another coordinator: nobody is sent one again.
 * Resolves after the first look, then looks again every second; a store that does not answer is asked again.
 */
export async function followRejections({ clock, log }: Machine, store: Pick<Store, "readRejections">, fleet: Fleet, ends: Ends): Promise<void> {
  let position = 0;
  let isEnded = false;
  let cancel = (): void => {};
  const look = async (): Promise<void> => {
    try {
      const rejections = await store.readRejections(Math.max(0, position - overlap));
      for (const { mcpId, producerId, digest, detail } of rejections) fleet.tableRejected(mcpId === "" ? producerId : mcpId, digest, detail);
      position = Math.max(position, rejections.at(-1)?.position ?? 0);
    } catch (error) {
      // The loop's edge: the store's outage is told by those who need it more.
      log.debug({ err: error }, "rejected tables could not be read");
    }
    if (!isEnded) cancel = clock.after(limits.routingAckFlushMs, () => void look());
  };
  ends.add(() => {
    isEnded = true;
    cancel();
  });
  await look();
}
