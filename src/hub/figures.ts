import type { ConfigStanding } from "./config-outlet.js";
import { type McpLoad, type MeasuredLoad, sumLoads } from "./load.js";
import type { Grant } from "./window.js";

/** What the sessions of a process are like now, for people and for routing. */
export type FleetFigures = {
  readonly grant: Grant;
  /** Version of the settings that sessions are given. */
  readonly configVersion: number;
  /** Sessions that take updates of their settings: how many have that version, how many an older one, and how many of those rejected the newer. */
  readonly configCurrent: number;
  readonly configBehind: number;
  readonly configRejected: number;
  readonly loads: readonly McpLoad[];
};

/** A session as far as figures go. `configStanding` is undefined when it takes no updates. */
export type CountedSession = {
  readonly mcpId: string;
  readonly load: MeasuredLoad | undefined;
  readonly configStanding: ConfigStanding | undefined;
  readonly isClosed: boolean;
};

/** Counts sessions. Units: `nowMs` is monotonic. */
export function figuresOf(sessions: readonly CountedSession[], grant: Grant, configVersion: number, nowMs: number): FleetFigures {
  const live = sessions.filter((session) => !session.isClosed);
  const standings = live.flatMap(({ configStanding }) => (configStanding === undefined ? [] : [configStanding]));
  const behind = standings.filter(({ version }) => version < configVersion);
  return {
    grant,
    configVersion,
    configCurrent: standings.length - behind.length,
    configBehind: behind.length,
    configRejected: behind.filter(({ isRejected }) => isRejected).length,
    loads: sumLoads(live, nowMs),
  };
}
