import { tableDigest } from "./digest.js";
import { factorNames, type PublishedRoutes, type PublishReason, type Route, type StandingNews, type WeightFactor } from "./table.js";

/** A publication as the store keeps it; the same shape as `Publication` of store/store.ts, which this room does not import. */
export type StoredPublication = {
  readonly term: number;
  readonly version: number;
  readonly digest: string;
  readonly routes: readonly {
    readonly mcpId: string;
    readonly weight: number;
    readonly state: Route["state"];
    /** Absent in rows from before these were published. */
    readonly maxConcurrent?: number;
    readonly priority?: number;
    readonly why: readonly { readonly name: string; readonly contribution: number }[];
  }[];
  readonly policyId: string;
  readonly reason: string;
  readonly publishedAtMs: number;
};

const reasons = { initial: true, change: true, membership: true, refresh: true } as const satisfies Record<
  Exclude<PublishReason, `${StandingNews}:${string}`>,
  true
>;
const news = { ejected: true, drain: true, disconnected: true, restored: true } as const satisfies Record<StandingNews, true>;

export function toStored({ table, validForMs: _, ...rest }: PublishedRoutes): StoredPublication {
  return { ...rest, routes: table };
}

/**
 * A stored publication as a table in force, or undefined when it is not what was published: its digest does not match its routes.
 * Factors and reasons of a newer coordinator that this one has no name for are left out, or read as "change".
 */
export function fromStored(stored: StoredPublication, validForMs: number): PublishedRoutes | undefined {
  const { routes, reason, ...rest } = stored;
  if (tableDigest(routes) !== stored.digest) return undefined;
  const table = routes.map((route): Route => ({ maxConcurrent: 0, priority: 0, ...route, why: route.why.filter(isKnownFactor) }));
  return { ...rest, table, reason: isKnownReason(reason) ? reason : "change", validForMs };
}

/** Whether `a` replaces `b`: terms first, then versions. */
export function isNewer(
  a: { readonly term: number; readonly version: number },
  b: { readonly term: number; readonly version: number } | undefined,
): boolean {
  return b === undefined || a.term > b.term || (a.term === b.term && a.version > b.version);
}

function isKnownFactor(factor: { readonly name: string; readonly contribution: number }): factor is WeightFactor {
  return Object.hasOwn(factorNames, factor.name);
}

function isKnownReason(reason: string): reason is PublishReason {
  return Object.hasOwn(reasons, reason) || (reason.includes(":") && Object.hasOwn(news, reason.slice(0, reason.indexOf(":"))));
}
