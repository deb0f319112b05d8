import type { PlaneReport, ProducerReport, RouteReport, RoutesReport } from "../client/read-routes.js";
import type { Colour } from "./output.js";

type Paint = (colour: Colour, text: string) => string;

/** Producers shown by name; the others are counted. Those that refuse or are far behind come first. */
const producersShownMax = 20;

/** What `routes` prints, line by line. */
export function routesView(report: RoutesReport, paint: Paint, hasWhy: boolean): readonly string[] {
  const { table, plane, producers } = report;
  if (table === undefined) return ["no table is published yet: clients use equal weights"];
  const title = `table ${table.term}/${table.version} ${table.digest}, ${table.policyId}, ${table.reason}, ${new Date(table.publishedAtMs).toISOString()}`;
  return [
    title,
    "",
    ...routeLines(table.routes, paint, hasWhy),
    ...(plane === undefined ? [] : ["", ...planeLines(plane, paint)]),
    ...(producers.length === 0 ? [] : ["", ...producerLines(producers, paint)]),
  ];
}

function routeLines(routes: readonly RouteReport[], paint: Paint, hasWhy: boolean): readonly string[] {
  const width = Math.max(3, ...routes.map(({ mcpId }) => mcpId.length));
  const head = `${"mcp".padEnd(width)}  weight  observed  state         max  tier`;
  return [
    head,
    ...routes.flatMap((route) => {
      const { mcpId, weight, observedShare, state, maxConcurrent, priority, why } = route;
      const observed = observedShare === undefined ? "-" : percent(observedShare);
      const shown = `${percent(weight / 10_000).padStart(6)}  ${observed.padStart(8)}`;
      const standing = state === "active" ? state.padEnd(12) : paint("yellow", state.padEnd(12));
      const line = `${mcpId.padEnd(width)}  ${shown}  ${standing} ${String(maxConcurrent).padStart(4)}  ${String(priority).padStart(4)}`;
      return hasWhy && why.length > 0 ? [line, `${" ".repeat(width)}  ${paint("faint", whyOf(why))}`] : [line];
    }),
  ];
}

/** Each factor as what it multiplies by, and what they come to. */
function whyOf(why: RouteReport["why"]): string {
  const raw = Math.exp(why.reduce((sum, factor) => sum + factor.contribution, 0));
  return `${why.map(({ name, contribution }) => `${name} ×${Math.exp(contribution).toPrecision(4)}`).join("  ")}  = ${raw.toPrecision(4)}`;
}

function planeLines(plane: PlaneReport, paint: Paint): readonly string[] {
  const { streams, streamsOnNewest, versionLagMax, appliedP50Ms, appliedP99Ms, observedDivergence } = plane;
  const onNewest = `${streamsOnNewest} of ${streams} on the newest table (${percent(streamsOnNewest / streams)}), at most ${versionLagMax} versions behind`;
  const times = appliedP50Ms === undefined ? "no acks yet" : `p50 ${ms(appliedP50Ms)}, p99 ${ms(appliedP99Ms)}`;
  return [
    `streams        ${streams === 0 ? "none here that takes tables" : onNewest}`,
    `applied after  ${times}`,
    `updates        ${plane.updatesSent} sent, ${plane.deltasSent} of them deltas; ${plane.outOfSync} out of sync, ${plane.staleEpoch} stale, ${plane.expired} expired, ${plane.acksIgnored} acks ignored`,
    `divergence     ${observedDivergence === undefined ? "nothing observed" : `${observedDivergence.toFixed(4)} nats of observed shares from weights`}`,
    ...plane.rejected.map(
      ({ digest, mcpId, reason, mcps }) =>
        `${paint("red", "rejected")}       ${digest} by ${mcpId}${mcps > 1 ? ` and ${mcps - 1} more` : ""}: ${reason}`,
    ),
    ...(plane.withheld > 0 ? [`withheld       ${plane.withheld} updates, because they were rejected before`] : []),
  ];
}

function producerLines(producers: readonly ProducerReport[], paint: Paint): readonly string[] {
  const sorted = producers.toSorted((a, b) => urgency(b) - urgency(a) || b.lag - a.lag || (a.producerId < b.producerId ? -1 : 1));
  const shown = sorted.slice(0, producersShownMax);
  const width = Math.max(8, ...shown.map(({ producerId }) => producerId.length));
  const mcpWidth = Math.max(3, ...shown.map(({ mcpId }) => mcpId.length));
  const inForce = ({ version, lag }: ProducerReport): string => `${version}${lag > 0 ? ` (${lag} behind)` : ""}`;
  const versionWidth = Math.max(7, ...shown.map((one) => inForce(one).length));
  const lines = shown.map((one) => {
    const { producerId, mcpId, status, rejection, verdicts, ackDelayMs } = one;
    const state = status === "applied" ? status.padEnd(8) : paint(status === "rejected" ? "red" : "yellow", status.padEnd(8));
    const verdict = verdicts[0];
    const why = verdict === undefined ? "" : `: ${verdict.mcpId === "" ? "" : `${verdict.mcpId}: `}${verdict.reason}`;
    const refusal = status === "rejected" ? `  ${rejection ?? "content"} of ${one.answered}${why}` : "";
    return `${producerId.padEnd(width)}  ${mcpId.padEnd(mcpWidth)}  ${state}  ${inForce(one).padEnd(versionWidth)}  ${ms(ackDelayMs).padStart(9)}${refusal}`;
  });
  const rest = producers.length - shown.length;
  return [
    `${"producer".padEnd(width)}  ${"mcp".padEnd(mcpWidth)}  answer    ${"version".padEnd(versionWidth)}      after`,
    ...lines,
    ...(rest > 0 ? [`and ${rest} more`] : []),
  ];
}

function urgency({ status, lag }: ProducerReport): number {
  if (status === "rejected") return 3;
  if (status === "expired") return 2;
  return lag > 0 ? 1 : 0;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

function ms(value: number | undefined): string {
  return value === undefined ? "-" : `${value.toFixed(1)} ms`;
}
