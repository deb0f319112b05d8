import { coordinatorVersion } from "../config/version.js";
import { parseVersion } from "../platform/semver.js";
import type { Check } from "./checks.js";

/** What this client speaks. */
const apiVersion = "v2";
const contract = "mcp.coordinator.v1";

/** What GET /api/v2/version says: members that are not there, or of another type, are undefined. */
export type ServedVersions = {
  readonly coordinator: string | undefined;
  readonly api: readonly string[] | undefined;
  readonly contract: string | undefined;
};

/** Reads the answer of GET /api/v2/version; undefined when it is no JSON object. Total. */
export function readServedVersions(body: Uint8Array): ServedVersions | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    const data = memberOf(value, "data") ?? value;
    if (typeof data !== "object" || data === null) return undefined;
    const api = memberOf(data, "api_versions");
    return {
      coordinator: textOf(memberOf(data, "coordinator_version")),
      api: Array.isArray(api) ? api.filter((one) => typeof one === "string") : undefined,
      contract: textOf(memberOf(data, "contract")),
    };
  } catch {
    // Translates: what is no JSON says nothing about versions.
    return undefined;
  }
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/**
 * Whether this client can work with the coordinator, and who has to be upgraded if not: whoever is behind. Same API, same contract and same major version are compatible.
 * `status` is that of the answer; `served` undefined: the answer says nothing.
 */
export function judgeVersion(status: number, served: ServedVersions | undefined): Check {
  const name = "version";
  if (status !== 200 || served?.coordinator === undefined) {
    const finding = `GET /api/v2/version does not say which version the coordinator is: HTTP ${status}`;
    return { name, kind: "failed", finding, nextStep: "upgrade the coordinator to one that serves API v2, or let the proxy pass /api on" };
  }
  const finding = `this client is ${coordinatorVersion}, the coordinator ${served.coordinator}`;
  const failed = (what: string, nextStep: string): Check => ({ name, kind: "failed", finding: `${finding}${what}`, nextStep });
  if (served.api?.includes(apiVersion) === false)
    return failed(`, which serves API ${served.api.join(", ") || "none"} and not ${apiVersion}`, upgradeOf(behind(served)));
  if (served.contract !== undefined && served.contract !== contract)
    return failed(`, which speaks ${served.contract} and not ${contract}`, upgradeOf(behind(served)));
  if (behind(served) !== "none") return failed(": another major version", upgradeOf(behind(served)));
  return { name, kind: "passed", finding: `${finding}: compatible` };
}

/** Who has the older major version. */
function behind({ coordinator = "" }: ServedVersions): "client" | "coordinator" | "none" {
  const [theirs, ours] = [parseVersion(coordinator)?.major, parseVersion(coordinatorVersion)?.major];
  if (theirs === undefined || ours === undefined || theirs === ours) return "none";
  return theirs > ours ? "client" : "coordinator";
}

function upgradeOf(who: ReturnType<typeof behind>): string {
  switch (who) {
    case "client":
      return "upgrade this client (the package mcp-coordinator) to the coordinator's major version";
    case "coordinator":
      return "upgrade the coordinator to this client's major version, coordinators first";
    default:
      return "upgrade the one that is older";
  }
}
