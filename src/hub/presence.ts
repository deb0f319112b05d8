import type { LoadReport } from "../wire/session-terms.js";
import type { Session, Step } from "./session.js";

/** Who wants to know which MCPs have a session here, and how they are. Must not throw, must not wait. */
export type FleetWatch = {
  /** A session of an MCP takes events. */
  readonly opened: (mcpId: string, sessionId: string) => void;
  /** It takes none any more: "orderly" after a half-close or a drain, "lost" otherwise. Comes once for each `opened`. */
  readonly closed: (mcpId: string, sessionId: string, how: "orderly" | "lost") => void;
  /** A session that promised heartbeats has missed all but the last that it may miss; or is heard again. */
  readonly suspected: (mcpId: string, sessionId: string, isSuspect: boolean) => void;
  readonly reported: (mcpId: string, sessionId: string, load: LoadReport) => void;
  /** Signs that a client does not keep up, or that it does again. */
  readonly strained: (mcpId: string, sessionId: string, strain: Strain) => void;
};

/** Signs that a client does not keep up with its own session. */
export type Strain = {
  /** Routing tables in a row that it has not answered in time. */
  readonly unansweredTables: number;
  /** How unevenly its heartbeats come, as a share of their interval; 0 while that is not known. */
  readonly heartbeatJitter: number;
};

/** Jitter is told in twentieths: it is judged in quarters, and a client that is well should not be news with each heartbeat. */
const jitterSteps = 20;

/** Share of the silence that ends a session after which it is suspect: two of three heartbeats. */
const suspectShare = 2 / 3;

/** What the watch was told of one session, so that it is told each thing once. */
export class Presence {
  readonly #watch: FleetWatch;
  readonly #sessionId: string;
  /** The MCP as it was told; empty while nothing was. A session keeps the name that it opened with. */
  #mcpId = "";
  #isSuspect = false;
  #strain: Strain = { unansweredTables: 0, heartbeatJitter: 0 };

  constructor(watch: FleetWatch, sessionId: string) {
    this.#watch = watch;
    this.#sessionId = sessionId;
  }

  /** Takes one step of the session, away from `before`, as of `nowMs`. `mcpId` is empty while only events say whose it is; then nobody is told. */
  moved(before: Session, { next: after, effects }: Step, mcpId: string, nowMs: number): void {
    if (after.kind === "live" || after.kind === "draining") {
      if (this.#mcpId === "" && mcpId !== "" && after.kind === "live") {
        this.#mcpId = mcpId;
        this.#watch.opened(mcpId, this.#sessionId);
      }
      const { heardAtMs, promises } = after.traffic;
      this.#suspect(promises.heartbeat && nowMs - heardAtMs > after.traffic.terms.silenceMaxMs * suspectShare);
      return;
    }
    if (this.#mcpId === "") return;
    // An idle session that half-closes has nothing to flush, and ends with OK at once.
    const isOrderly = after.kind === "flushing" || before.kind === "draining" || effects.some(({ kind }) => kind === "finish");
    this.#watch.closed(this.#mcpId, this.#sessionId, isOrderly ? "orderly" : "lost");
    this.#mcpId = "";
  }

  reported(load: LoadReport): void {
    if (this.#mcpId !== "") this.#watch.reported(this.#mcpId, this.#sessionId, load);
  }

  /** How the client keeps up, as of now. */
  keepsUp({ unansweredTables, heartbeatJitter }: Strain): void {
    const strain = { unansweredTables, heartbeatJitter: Math.round(heartbeatJitter * jitterSteps) / jitterSteps };
    const { unansweredTables: before, heartbeatJitter: jitterBefore } = this.#strain;
    if (this.#mcpId === "" || (strain.unansweredTables === before && strain.heartbeatJitter === jitterBefore)) return;
    this.#strain = strain;
    this.#watch.strained(this.#mcpId, this.#sessionId, strain);
  }

  #suspect(isSuspect: boolean): void {
    if (this.#mcpId === "" || isSuspect === this.#isSuspect) return;
    this.#isSuspect = isSuspect;
    this.#watch.suspected(this.#mcpId, this.#sessionId, isSuspect);
  }
}
