import { limits } from "../platform/limits.js";
import { createMember, type Member } from "./member.js";
import { compareIds } from "./order.js";

/** MCPs that nobody expects, without a stream and without requests, are forgotten after this silence. Unit: ms. As long as gRFC A58's weights last. */
const idleMaxMs = 180_000;

/** The MCPs that the router knows, at most `limits.routedMcpMax`: those that are expected or have a stream stay. */
export class Roster {
  readonly #byId = new Map<string, Member>();
  #sorted: readonly Member[] | undefined;
  readonly #left: (member: Member) => void;
  readonly #priorityDefault: number;

  /** `left` is told of every member that is forgotten. */
  constructor(left: (member: Member) => void, priorityDefault: number) {
    this.#left = left;
    this.#priorityDefault = priorityDefault;
  }

  get(mcpId: string): Member | undefined {
    return this.#byId.get(mcpId);
  }

  /** Ascending by mcpId; the same array until somebody comes or goes. */
  get members(): readonly Member[] {
    this.#sorted ??= [...this.#byId.values()].sort((a, b) => compareIds(a.mcpId, b.mcpId));
    return this.#sorted;
  }

  /**
   * The member, which is a new one if it is not known. An `important` one, that is expected or has a stream, takes the place of one that is not when there are too
   * many; undefined when there is no place.
   */
  admit(mcpId: string, isImportant: boolean, nowMs: number): Member | undefined {
    const known = this.#byId.get(mcpId);
    if (known !== undefined) return known;
    if (this.#byId.size >= limits.routedMcpMax && !(isImportant && this.#forgetOneAbsent())) return undefined;
    const fresh = createMember(mcpId, this.#priorityDefault, limits.leaseMinMs, nowMs);
    this.#byId.set(mcpId, fresh);
    this.#sorted = undefined;
    return fresh;
  }

  remove(member: Member): void {
    if (!this.#byId.delete(member.mcpId)) return;
    this.#sorted = undefined;
    this.#left(member);
  }

  /** Forgets those that have been idle for too long. */
  tick(nowMs: number): void {
    for (const member of this.members) {
      if (isAbsent(member) && !isWaitedFor(member) && nowMs - member.heardAtMs > idleMaxMs) this.remove(member);
    }
  }

  /** The longest silent one; one that may come back only when there is no other. Its ejections are forgotten with it: who is here needs the place more. */
  #forgetOneAbsent(): boolean {
    let silent: Member | undefined;
    for (const member of this.#byId.values()) {
      if (!isAbsent(member)) continue;
      const isBetter =
        silent === undefined || (isWaitedFor(silent) === isWaitedFor(member) ? member.heardAtMs < silent.heardAtMs : isWaitedFor(silent));
      if (isBetter) silent = member;
    }
    if (silent === undefined) return false;
    this.remove(silent);
    return true;
  }
}

/** Nothing depends on it. */
function isAbsent({ config, load }: Member): boolean {
  return !config.isExpected && load.streams.size === 0 && load.running.size === 0;
}

/** Its return would need what is known of it. */
function isWaitedFor({ standing }: Member): boolean {
  return standing.state === "disconnected" || standing.state === "ejected";
}
