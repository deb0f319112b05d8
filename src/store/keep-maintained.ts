import type { Clock } from "../platform/clock.js";
import type { Logger } from "../platform/log.js";
import type { Store } from "./store.js";

/** Runs maintenance every `intervalMs` until the returned function is called. A run that fails is logged and the next one does its work. */
export function keepMaintained(
  store: Pick<Store, "maintain">,
  deps: { readonly clock: Clock; readonly log: Logger },
  intervalMs: number,
): () => void {
  let isStopped = false;
  let cancel = (): void => {};
  const schedule = () => {
    if (!isStopped) cancel = deps.clock.after(intervalMs, () => void run());
  };
  const run = async (): Promise<void> => {
    try {
      const report = await store.maintain(deps.clock.nowMs());
      deps.log.info(report, "store maintained");
    } catch (thrown) {
      // The loop's edge: partitions are made a week ahead, so a missed run does no harm.
      deps.log.error({ err: thrown }, "maintenance failed and will be tried again");
    }
    schedule();
  };
  schedule();
  return () => {
    isStopped = true;
    cancel();
  };
}
