import { CoordinatorError } from "../platform/errors.js";
import { seededRng } from "../platform/rng.js";
import { policyHashOf } from "./decided.js";
import type { ShadowChoice } from "./decision.js";
import type { Assigned, Ended, Policy, Target } from "./policy.js";
import type { RouteRequest } from "./request.js";
import type { PolicyFactory } from "./router.js";
import type { SignalBook } from "./signal-book.js";

/** A policy at work, and the hash of it. */
export type Player = { readonly policy: Policy; readonly hash: string };

/**
 * The policies of a router: the one in force, those that are asked along, and the ones that could be. Only those in use are built and told what happens; one that
 * comes into use begins with what the signals know and nothing of its own, so let it be a shadow for a while first.
 */
export class LineUp {
  readonly #factories: ReadonlyMap<string, PolicyFactory>;
  readonly #book: Pick<SignalBook, "read" | "readClass">;
  #inUse: ReadonlyMap<string, Player> = new Map();
  #inForce: Player;
  #shadows: readonly Player[] = [];

  /** Errors: `not_found` for ids that have no factory. */
  constructor(
    factories: ReadonlyMap<string, PolicyFactory>,
    book: Pick<SignalBook, "read" | "readClass">,
    policyId: string,
    shadowIds: readonly string[],
  ) {
    this.#factories = factories;
    this.#book = book;
    this.#inForce = this.#playerOf(policyId);
    this.#line(policyId, shadowIds);
  }

  get inForce(): Player {
    return this.#inForce;
  }

  get shadowIds(): readonly string[] {
    return this.#shadows.map(({ policy }) => policy.id);
  }

  switchTo(policyId: string): void {
    this.#line(policyId, this.shadowIds);
  }

  setShadows(policyIds: readonly string[]): void {
    this.#line(this.#inForce.policy.id, policyIds);
  }

  /** What the shadows would do: each with the same numbers, so that they differ by what they are and not by chance. */
  askShadows(request: RouteRequest, targets: readonly Target[], tierShare: number, nowMs: number, seed: number): readonly ShadowChoice[] {
    if (this.#shadows.length === 0) return none;
    return this.#shadows.map(({ policy }) => {
      const { mcpId, propensity } = policy.choose(request, targets, nowMs, seededRng(seed));
      return { policyId: policy.id, mcpId, propensity: propensity * tierShare };
    });
  }

  assigned(assigned: Assigned): void {
    for (const { policy } of this.#inUse.values()) policy.assigned(assigned);
  }

  ended(ended: Ended): void {
    for (const { policy } of this.#inUse.values()) policy.ended(ended);
  }

  tick(nowMs: number): void {
    for (const { policy } of this.#inUse.values()) policy.tick(nowMs);
  }

  #line(policyId: string, shadowIds: readonly string[]): void {
    const others = [...new Set(shadowIds)].filter((id) => id !== policyId);
    const inForce = this.#playerOf(policyId);
    const shadows = others.map((id) => this.#playerOf(id));
    this.#inForce = inForce;
    this.#shadows = shadows;
    this.#inUse = new Map([inForce, ...shadows].map((player) => [player.policy.id, player]));
  }

  #playerOf(policyId: string): Player {
    const known = this.#inUse.get(policyId);
    if (known !== undefined) return known;
    const create = this.#factories.get(policyId);
    if (create === undefined) {
      throw new CoordinatorError("not_found", `no policy "${policyId}"; there are ${[...this.#factories.keys()].sort().join(", ")}`, {
        reason: "POLICY_NOT_FOUND",
      });
    }
    const policy = create(this.#book);
    return { policy, hash: policyHashOf(policy) };
  }
}

const none: readonly ShadowChoice[] = [];
