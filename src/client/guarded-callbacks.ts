import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { ReporterSettings } from "./reporter-options.js";
import type { Troubles } from "./troubles.js";
import type { ClientLoad } from "./wire/control.js";

type Callbacks = Pick<ReporterSettings, "load" | "judgeTarget" | "onRoutes" | "onMcpConfig" | "renewKey">;

const uint32Max = 2 ** 32 - 1;

/**
 * The functions of the owner that a stream calls from timers and handlers of its own, where what they throw would end the process: it becomes trouble instead. A load that cannot be
 * told is left out; a target, or a configuration, that could not be judged is one that cannot be used. A key that does not come, or not in
 * time, is told of and left to the stream, which asks again.
 */
export function guardCallbacks(
  { load, judgeTarget, onRoutes, onMcpConfig, renewKey }: Callbacks,
  troubles: Pick<Troubles, "run">,
  clock: Pick<Clock, "after">,
): Callbacks {
  const attempt = <T>(task: () => T, otherwise: T): T => {
    let result = otherwise;
    troubles.run(() => {
      result = task();
    });
    return result;
  };
  return {
    ...(load && { load: () => attempt(() => soundLoad(load()), undefined) }),
    ...(judgeTarget && { judgeTarget: (target) => attempt(() => judgeTarget(target), "judgeTarget has thrown") }),
    ...(onRoutes && { onRoutes: (routes) => troubles.run(() => onRoutes(routes)) }),
    ...(onMcpConfig && { onMcpConfig: (config) => attempt(() => onMcpConfig(config), "onMcpConfig has thrown") }),
    ...(renewKey && { renewKey: () => watchedRenewal(renewKey, troubles, clock) }),
  };
}

async function watchedRenewal(
  renewKey: () => Promise<string | undefined>,
  troubles: Pick<Troubles, "run">,
  clock: Pick<Clock, "after">,
): Promise<string | undefined> {
  const tell = (message: string): void =>
    troubles.run(() => {
      throw new Error(message);
    });
  const cancel = clock.after(limits.keyRenewalMaxMs, () => tell(`renewKey has not answered in ${limits.keyRenewalMaxMs / 1_000} s`));
  try {
    return await renewKey();
  } catch (thrown) {
    // The loop's edge: no key now, and that is told.
    tell(`renewKey has failed: ${thrown instanceof Error ? thrown.message : typeof thrown}`);
    return undefined;
  } finally {
    cancel();
  }
}

/** The load, if a frame can carry it. Throws otherwise. */
function soundLoad(load: ClientLoad | undefined): ClientLoad | undefined {
  if (load === undefined) return undefined;
  const { inFlight, queued, utilization } = load;
  const isSound = [inFlight, queued].every((count) => Number.isInteger(count) && count >= 0 && count <= uint32Max);
  if (!isSound || !(utilization >= 0))
    throw new TypeError("load must give whole numbers inFlight and queued, and a utilization, none negative");
  return load;
}
