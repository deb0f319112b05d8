import type { ReporterSettings } from "./reporter-options.js";
import type { Troubles } from "./troubles.js";
import type { ClientLoad } from "./wire/control.js";

type Callbacks = Pick<ReporterSettings, "load" | "judgeTarget" | "onRoutes" | "onMcpConfig">;

const uint32Max = 2 ** 32 - 1;

/**
 * The functions of the owner that a stream calls from timers and handlers of its own, where what they throw would end the process: it becomes trouble instead. A load that cannot be
 * told is left out; a target, or a configuration, that could not be judged is one that cannot be used.
 */
export function guardCallbacks({ load, judgeTarget, onRoutes, onMcpConfig }: Callbacks, troubles: Pick<Troubles, "run">): Callbacks {
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
  };
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
