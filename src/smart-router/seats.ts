import { compareIds } from "./order.js";
import { isSharing, routeStateOf, type Standing } from "./standing.js";
import type { PublishReason, Route, RouteState, StandingNews } from "./table.js";
import { tierShares } from "./tiers.js";

/** The place of one MCP in a table, before anything is weighed. */
export type Seat = {
  readonly mcpId: string;
  readonly standing: Standing;
  readonly state: RouteState;
  /** Whether it has a share: its state allows it, and its tier takes something. */
  readonly hasShare: boolean;
};

/** Everyone of the fleet, ascending by mcpId, and what each tier takes. */
export type Seating = { readonly seats: readonly Seat[]; readonly tiers: ReadonlyMap<number, number> };

/** Seats the members of a table. `members` ascending by mcpId. */
export function seatAll(members: readonly string[], standingOf: (mcpId: string) => Standing): Seating {
  const seats = members.map((mcpId) => {
    const standing = standingOf(mcpId);
    return { mcpId, standing, state: routeStateOf(standing) };
  });
  const tiers = tierShares(
    seats.map(({ mcpId, standing, state }) => ({
      mcpId,
      priority: standing.priority,
      capacity: standing.capacity,
      isSharing: isSharing(state),
    })),
  );
  return {
    seats: seats.map((seat) => ({ ...seat, hasShare: isSharing(seat.state) && (tiers.get(seat.standing.priority) ?? 0) > 0 })),
    tiers,
  };
}

/** What of a route is news when it changes: that it has a share, or why it has none. */
export type Place = "shares" | "idle" | Exclude<RouteState, "active" | "warming" | "degraded">;

export function placeOfSeat({ state, hasShare }: Seat): Place {
  return placeOf(state, hasShare);
}

/** The place that a published route showed. */
export function placeOfRoute({ state, weight }: Pick<Route, "state" | "weight">): Place {
  return placeOf(state, weight > 0);
}

function placeOf(state: RouteState, hasShare: boolean): Place {
  if (!isSharing(state)) return state;
  return hasShare ? "shares" : "idle";
}

const newsOf = {
  ejected: "ejected",
  disconnected: "disconnected",
  draining: "drain",
  shares: "restored",
  idle: undefined,
} as const satisfies Record<Place, StandingNews | undefined>;
/** The gravest first: one reason is told, and it is that of the loss. */
const gravity: readonly StandingNews[] = ["ejected", "disconnected", "drain", "restored"];

/** Whether the members or their places are others than before. */
export function hasMoved(before: ReadonlyMap<string, Place>, seats: readonly Seat[]): boolean {
  return before.size !== seats.length || seats.some((seat) => before.get(seat.mcpId) !== placeOfSeat(seat));
}

/** Why a table with these places has to be published at once; undefined when nothing has moved. */
export function moveReason(before: ReadonlyMap<string, Place>, seats: readonly Seat[]): PublishReason | undefined {
  if (!hasMoved(before, seats)) return undefined;
  const moved = seats.filter((seat) => before.has(seat.mcpId) && before.get(seat.mcpId) !== placeOfSeat(seat));
  for (const news of gravity) {
    const about = moved.filter((seat) => newsOf[placeOfSeat(seat)] === news).map((seat) => seat.mcpId);
    const [first, ...more] = about.sort(compareIds);
    if (first !== undefined) return `${news}:${first}${more.length > 0 ? ` +${more.length}` : ""}`;
  }
  return "membership";
}
