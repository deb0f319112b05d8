import { limits } from "../platform/limits.js";

/** A table that somebody rejected for its content. */
export type RejectedTable = {
  /** 16 hex digits. */
  readonly digest: string;
  /** Who rejected it last, and what it said. */
  readonly subject: string;
  readonly reason: string;
  /** How many will not be sent this table again. */
  readonly subjectCount: number;
};

/**
 * Tables that MCPs have rejected for their content: nobody is sent again what it has rejected, under whatever version it comes back.
 * Bound: `limits.rejectedTablesPerMcpMax` digests of each of `limits.rejectingMcpMax` subjects; the oldest are forgotten first.     Source: router.md 1.7, rule 3.
 */
export class RejectedTables {
  /** By subject, the one that rejected longest ago first; in each its digests, the oldest first. A subject is an MCP, or a session that names none. */
  readonly #digests = new Map<string, Set<string>>();
  /** What was said of a digest last, the newest last. */
  readonly #reasons = new Map<string, { readonly subject: string; readonly reason: string }>();

  add(subject: string, digest: string, reason: string): void {
    const digests = this.#digests.get(subject) ?? new Set();
    this.#digests.delete(subject);
    this.#digests.set(subject, digests);
    digests.delete(digest);
    digests.add(digest);
    dropOldest(digests, limits.rejectedTablesPerMcpMax);
    dropOldest(this.#digests, limits.rejectingMcpMax);
    this.#reasons.delete(digest);
    this.#reasons.set(digest, { subject, reason });
    dropOldest(this.#reasons, limits.rejectionShownMax);
  }

  has(subject: string, digest: string): boolean {
    return this.#digests.get(subject)?.has(digest) === true;
  }

  /** Newest first, at most `limits.rejectionShownMax`. */
  list(): readonly RejectedTable[] {
    return [...this.#reasons].reverse().map(([digest, { subject, reason }]) => {
      let subjectCount = 0;
      for (const digests of this.#digests.values()) if (digests.has(digest)) subjectCount += 1;
      return { digest, subject, reason, subjectCount };
    });
  }
}

function dropOldest(kept: Set<string> | Map<string, unknown>, maxCount: number): void {
  for (const oldest of kept.keys()) {
    if (kept.size <= maxCount) return;
    kept.delete(oldest);
  }
}
