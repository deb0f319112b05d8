import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseRange, parseVersion, satisfies } from "../platform/semver.js";

/** Gives the refusal of a version, or undefined when it is accepted. */
export type VersionJudge = (version: string) => CoordinatorError | undefined;

/**
 * Judges versions of MCPs. `accepted` is a range that parseRange takes, or empty: then any text passes, also none.
 * Errors given: `failed_precondition` with VERSION_NOT_ACCEPTED and what to do about it.
 */
export function createVersionJudge(accepted: string, upgradeHint: string): VersionJudge {
  const range = accepted === "" ? undefined : parseRange(accepted);
  if (range === undefined) return () => undefined;
  return (text) => {
    const version = parseVersion(text);
    if (version !== undefined && satisfies(version, range)) return undefined;
    const named = text === "" ? "a client that says no version" : `version "${text.slice(0, limits.labelValueMaxBytes)}"`;
    const hint = upgradeHint === "" ? `run a version in "${accepted}"` : upgradeHint;
    return new CoordinatorError("failed_precondition", `${named} is not accepted: ${hint}`, {
      reason: "VERSION_NOT_ACCEPTED",
      metadata: { accepted, version: text.slice(0, limits.labelValueMaxBytes), upgrade_hint: hint },
    });
  };
}
