import { isDeepStrictEqual } from "node:util";
import type { KeyRing } from "../auth/api-key.js";
import type { Config } from "../config/schema.js";
import { configuredValue, settings } from "../config/settings.js";
import type { Fleet } from "../hub/fleet.js";
import type { Machine } from "./machine.js";
import { objectivesOf } from "./router.js";
import type { Routing } from "./routing.js";
import { sessionSettingsOf } from "./session-settings.js";

export type ReconfigureParts = {
  readonly keys: Pick<KeyRing, "isOpen" | "replace">;
  readonly fleet: Pick<Fleet, "reconfigure" | "keysRevoked" | "keysWanted">;
  readonly useRule: Routing["useRule"];
  readonly useObjectives: Routing["useObjectives"];
};

/** Compares each configuration with the one in force, and takes over what a running process can; the log says what waits for a restart. */
export function createReconfigure(machine: Pick<Machine, "config" | "log">, parts: ReconfigureParts): (config: Config) => void {
  const { log } = machine;
  let current = machine.config;
  return (read) => {
    // A file without keys would let everybody in, and may be one that is half written: that takes a restart.
    const wouldOpen = read.auth.keys.length === 0 && !parts.keys.isOpen;
    if (wouldOpen) log.error("the configuration was read again and has no keys: those in force stay; restart to let everybody in");
    const config = wouldOpen ? { ...read, auth: current.auth } : read;
    const changed = settings
      .filter((one) => !isDeepStrictEqual(configuredValue(config, one), configuredValue(current, one)))
      .map(({ tomlPath }) => tomlPath);
    const taken = changed.filter((path) => takenPaths.has(path));
    if (taken.includes(keysPath)) takeKeys(log, parts, config);
    if (taken.includes(weightPolicyPath)) {
      parts.useRule(config.routing.weightPolicy);
      log.info({ policy: config.routing.weightPolicy }, "another rule weighs from now on");
    }
    if (taken.includes(objectivesPath)) {
      parts.useObjectives(objectivesOf(config));
      log.info({ objectives: Object.keys(config.routing.objectives).length }, "other latency objectives are in force");
    }
    if (taken.some((path) => sessionPaths.has(path))) {
      const { store, ingest } = machine.config;
      const version = parts.fleet.reconfigure(sessionSettingsOf({ ...config, store, ingest }));
      log.info({ version, changed: taken.filter((path) => sessionPaths.has(path)) }, "settings of sessions changed");
    }
    if (taken.length === 0) log.info("no setting that may change at run time has changed");
    const waiting = changed.filter((path) => !takenPaths.has(path) && path !== "server.coordinator_id");
    if (waiting.length > 0) log.warn({ waiting }, "these settings changed too and wait for a restart");
    current = config;
  };
}

/** Calls are judged by the new keys at once, and sessions whose key is gone end: what they have under way is stored, and sent again with another key. */
function takeKeys(log: Machine["log"], { keys, fleet }: ReconfigureParts, config: Config): void {
  const wasOpen = keys.isOpen;
  const gone = keys.replace(config.auth.keys);
  if (wasOpen) fleet.keysWanted();
  if (gone.size > 0) fleet.keysRevoked(gone);
  log.info({ keys: config.auth.keys.length, gone: [...gone].slice(0, loggedIdsMax), goneCount: gone.size }, "other keys are in force");
}

/** Ids of keys in one line of the log. */
const loggedIdsMax = 32;

/** Settings that a running process takes over, by their TOML path. */
const weightPolicyPath = "routing.weight_policy";
const objectivesPath = "routing.objectives";
const keysPath = "auth.keys";
const sessionPaths: ReadonlySet<string> = new Set([
  "session.heartbeat_interval_seconds",
  "session.max_age_seconds",
  "session.max_batch_events",
]);
const takenPaths: ReadonlySet<string> = new Set([weightPolicyPath, objectivesPath, keysPath, ...sessionPaths]);
