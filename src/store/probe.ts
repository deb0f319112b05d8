import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Store } from "./store.js";

/** Whether the store answered last time it was asked. */
export type StoreProbe = { readonly isAvailable: () => boolean; readonly close: () => void };

/** Asks the store every `limits.storeProbeIntervalMs`, so that its absence is seen while no events come. `changed` hears every change. */
export function probeStore(
  store: Pick<Store, "ping">,
  deps: { readonly clock: Clock },
  changed: (isAvailable: boolean) => void,
): StoreProbe {
  let isAvailable = true;
  let isClosed = false;
  let cancel = (): void => {};
  const schedule = () => {
    if (!isClosed) cancel = deps.clock.after(limits.storeProbeIntervalMs, () => void ask());
  };
  const ask = async (): Promise<void> => {
    // The loop's edge: a failure becomes the state.
    const answers = await store.ping().then(
      () => true,
      () => false,
    );
    if (answers !== isAvailable && !isClosed) {
      isAvailable = answers;
      changed(answers);
    }
    schedule();
  };
  schedule();
  return {
    isAvailable: () => isAvailable,
    close: () => {
      isClosed = true;
      cancel();
    },
  };
}
