import { lookup } from "node:dns/promises";
import { readMcpConfig } from "../client/read-config.js";
import { type ReporterOptions, type ReporterSettings, readOptions } from "../client/reporter-options.js";
import type { Tls, TlsOptions } from "../client/tls.js";
import { createGrpcTransport } from "../client/transports/grpc.js";
import { createHttpTransport } from "../client/transports/http.js";
import { outsOf, tlsOf } from "../client/transports/outs.js";
import type { Transport, TransportEvents, TransportHealth, TransportName } from "../client/transports/transport.js";
import { createWebClient } from "../client/transports/web-client.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { systemRng } from "../platform/rng.js";
import type { Check } from "./checks.js";
import { judgeVersion, readServedVersions } from "./version-check.js";

/** Where doctor looks from the side of an MCP. */
export type ReporterTarget = {
  /** mcp_config.toml; the others win over what is in it. */
  readonly mcpConfig: string | undefined;
  readonly coordinatorUrl: string | undefined;
  readonly grpcTarget: string | undefined;
  /** The MCP whose stream is opened, and which a bound key must name. */
  readonly mcpId: string | undefined;
  readonly key: string | undefined;
  /** They win over what is in mcp_config.toml, each of them. */
  readonly tls: TlsOptions;
  /** How long an idle stream is watched, to find what cuts it.     Unit: ms; 0: not at all. */
  readonly holdMs: number;
};

/** Clocks that differ by more are worth a word: far below the skew at which events are refused, far above what NTP leaves. */
const skewMaxMs = 30_000;
/** Longest wait for one answer. */
const answerMaxMs = 5_000;

/** Everything between an MCP here and its coordinator, each with its next step when it is wrong. Reports nothing; the stream that it opens registers an MCP that was not. */
export async function examineReporter(clock: Clock, target: ReporterTarget): Promise<readonly Check[]> {
  const fromFile = target.mcpConfig === undefined ? undefined : readMcpConfig(target.mcpConfig);
  const { coordinatorUrl, grpcTarget, mcpId, key, tls: flags } = target;
  const { settings, faults } = readOptions({
    ...(fromFile ?? { mcpId: "doctor" }),
    ...withoutUndefined({ coordinatorUrl, grpcTarget, mcpId, apiKey: key, ...flags }),
  });
  const remarks = (fromFile?.remarks ?? []).map(
    (remark): Check => ({ name: "mcp config", kind: "failed", finding: remark, nextStep: "correct it there" }),
  );
  const wrong = faults.map(
    ({ field, description }): Check => ({ name: field, kind: "failed", finding: description, nextStep: "correct this option" }),
  );
  if (faults.length > 0) return [...remarks, ...wrong];
  const isOff: readonly Check[] = settings.enableReporting
    ? []
    : [{ name: "reporting", kind: "skipped", finding: "is switched off in the file: enable_interaction_logging = true switches it on" }];
  const tls = await readTls(settings);
  if (tls.kind === "unusable") return [...remarks, ...isOff, tls.check];
  const http = await examineHttp(clock, settings, tls.tls);
  const grpc = await examineGrpc(clock, settings, tls.tls, target.holdMs);
  const ways = [...http, ...grpc, ...(await examineOthers(clock, settings))];
  return [...remarks, ...isOff, ...ways, judgeChoice(settings, ways)];
}

/** The check that tells whether a transport is up. */
const wayChecks: Readonly<Record<TransportName, string>> = { grpc: "grpc", http: "http and key", redis: "redis", database: "database" };

/** Which transport a reporter would use now, and why. */
export function judgeChoice({ transport, outs }: Pick<ReporterSettings, "transport" | "outs">, ways: readonly Check[]): Check {
  const name = "transport";
  if (outs.length === 0) return { name, kind: "skipped", finding: "no transport has an address" };
  const best = outs.find((out) => ways.some((check) => check.name === wayChecks[out] && check.kind === "passed"));
  if (best === undefined) {
    const what = transport === "auto" ? `none of ${outs.join(", ")} is up` : `${transport} is configured, and is not up`;
    return { name, kind: "failed", finding: `${what}: reports would wait in the spool`, nextStep: "mend what is said above" };
  }
  if (transport !== "auto") return { name, kind: "passed", finding: `${best} is the one that is configured, and is up` };
  const missing = outs.slice(0, outs.indexOf(best));
  const why =
    missing.length === 0
      ? `the best of ${outs.join(", ")}`
      : `${missing.join(" and ")} would be better, and ${missing.length === 1 ? "is" : "are"} not up`;
  return { name, kind: "passed", finding: `auto would use ${best}: ${why}` };
}

/** TLS as the reporter would speak it, or what is wrong with its files. */
async function readTls(
  settings: ReporterSettings,
): Promise<{ readonly kind: "ready"; readonly tls: Tls | undefined } | { readonly kind: "unusable"; readonly check: Check }> {
  try {
    return { kind: "ready", tls: await tlsOf(settings) };
  } catch (thrown) {
    // Translated: a file that cannot be used is the finding.
    const finding = thrown instanceof Error ? thrown.message : String(thrown);
    return { kind: "unusable", check: { name: "tls", kind: "failed", finding, nextStep: "correct this option or the file" } };
  }
}

async function examineHttp(clock: Clock, settings: ReporterSettings, tls: Tls | undefined): Promise<readonly Check[]> {
  const { coordinatorUrl: url, mcpId, requestsPerSecond, maxRetries } = settings;
  if (url === undefined) {
    const finding = "no coordinatorUrl";
    return [
      { name: "http", kind: "skipped", finding },
      { name: "version", kind: "skipped", finding },
    ];
  }
  const dns = await examineName(new URL(url).hostname);
  if (dns.kind === "failed") return [dns];
  const key = settings.apiKey;
  const health = await tryOut(createHttpTransport({ url, tls, key, mcpId, requestsPerSecond, maxRetries, clock }, deaf));
  const security = judgeTls(url, health);
  if (security.kind === "failed") return [dns, security];
  const http = judge("http and key", health, `${url} answers, and takes ${key === undefined ? "reports without a key" : "the key"}`);
  return [dns, security, http, ...(await examineServer(clock, url, tls))];
}

async function examineName(host: string): Promise<Check> {
  try {
    const { address } = await lookup(host);
    return { name: "dns", kind: "passed", finding: `${host} is ${address}` };
  } catch (thrown) {
    // Translated: a name that is not known is the finding.
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return {
      name: "dns",
      kind: "failed",
      finding: `${host} is not known: ${why}`,
      nextStep: "correct the host, or the resolver of this machine",
    };
  }
}

/** The coordinator itself serves plain text; what is said of TLS is about what stands in front of it. */
export function judgeTls(url: string, health: TransportHealth): Check {
  const name = "tls";
  if (url.startsWith("https:")) {
    if (health.tls !== undefined) return judge(name, health, "");
    return { name, kind: "passed", finding: "the web address is HTTPS" };
  }
  return {
    ...{ name, kind: "skipped" },
    finding: "plain text: keys and reports can be read on the way; outside of a trusted network put a proxy with TLS in front",
  };
}

/** What GET /api/v2/version says about the coordinator's clock and version. */
async function examineServer(clock: Clock, url: string, tls: Tls | undefined): Promise<readonly Check[]> {
  const web = createWebClient({ url, tls, clock });
  const startedMs = clock.nowMs();
  const result = await web.ask({ method: "GET", path: "/api/v2/version", maxMs: answerMaxMs });
  web.close();
  if (result.kind === "fault") {
    // Who does not answer here has failed the check before, with its next step.
    const finding = `GET /api/v2/version: ${result.fault.why}`;
    return [
      { name: "clock skew", kind: "skipped", finding },
      { name: "version", kind: "skipped", finding },
    ];
  }
  const { answer } = result;
  return [judgeSkew(answer.header("date") ?? null, startedMs, clock.nowMs()), judgeVersion(answer.status, readServedVersions(answer.body))];
}

/** The Date of an answer has whole seconds: what it is late by that, and by the way, is no skew. */
export function judgeSkew(date: string | null, startedMs: number, endedMs: number): Check {
  const name = "clock skew";
  const theirsMs = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(theirsMs)) return { name, kind: "skipped", finding: "the answer has no date" };
  const skewMs = theirsMs < startedMs - 1_000 ? theirsMs + 1_000 - startedMs : Math.max(0, theirsMs - endedMs);
  if (Math.abs(skewMs) <= skewMaxMs) return { name, kind: "passed", finding: "the coordinator's clock and this one agree" };
  const finding = `this clock is ${Math.round(Math.abs(skewMs) / 1_000)} s ${skewMs > 0 ? "behind" : "ahead of"} the coordinator's`;
  return { name, kind: "failed", finding, nextStep: "set the clocks, for example with NTP: events too far ahead get CLOCK_SKEW" };
}

async function examineGrpc(clock: Clock, settings: ReporterSettings, tls: Tls | undefined, holdMs: number): Promise<readonly Check[]> {
  const { grpcTarget, mcpId, maxRetries } = settings;
  if (grpcTarget === undefined)
    return [{ name: "grpc", kind: "skipped", finding: "no grpcTarget, and no coordinatorUrl to take its host from" }];
  const key = settings.apiKey;
  const endpoint = { target: grpcTarget, key, tls };
  const stream = watchStream(clock, (events) => createGrpcTransport({ endpoint, mcpId, maxRetries, clock, rng: systemRng }, events));
  await stream.transport.probe();
  const health = stream.transport.health();
  const grpc = judge("grpc", health, `${grpcTarget} holds a stream`);
  const idle = health.state === "up" ? await watchIdle(stream.heldMs, holdMs) : undefined;
  await stream.transport.stop(0);
  return idle === undefined ? [grpc] : [grpc, idle];
}

/**
 * A stream, and how long the first one lasted until something cut it; undefined while nothing has. It reconnects by itself within moments, so its state at the end of a watch
 * tells nothing. One that the coordinator asked to leave was not cut.     Units: ms.
 */
function watchStream(
  clock: Clock,
  open: (events: TransportEvents) => Transport,
): { readonly transport: Transport; readonly heldMs: () => number | undefined } {
  let upAtMs: number | undefined;
  let heldMs: number | undefined;
  let isUp = false;
  const transport: Transport = open({
    onSettled: () => undefined,
    onChange: () => {
      const { state, why } = transport.health();
      const nowMs = clock.monotonicMs();
      // A coordinator that asks to reconnect is "connecting" with a reason; a stream that broke has none yet.
      if (isUp && (state === "down" || (state === "connecting" && why === ""))) heldMs ??= nowMs - (upAtMs ?? nowMs);
      isUp = state === "up";
      if (isUp) upAtMs ??= nowMs;
    },
  });
  return { transport, heldMs: () => heldMs };
}

/** Redis and the shared table, where they have an address: whether events could be brought, without bringing any. */
async function examineOthers(clock: Clock, settings: ReporterSettings): Promise<readonly Check[]> {
  const checks: Check[] = [];
  for (const { name, open } of outsOf(settings, { clock, rng: systemRng })) {
    if (name === "grpc" || name === "http") continue;
    const what = name === "redis" ? "Redis answers, and a coordinator reads the stream" : "rows can be inserted into interaction_logs";
    checks.push(judge(name, await tryOut(await open(deaf)), what));
  }
  return checks;
}

async function watchIdle(heldMs: () => number | undefined, holdMs: number): Promise<Check> {
  const name = "idle cut-off";
  const pace = `heartbeats go every ${limits.heartbeatIntervalMs / 1_000} s`;
  if (holdMs === 0)
    return {
      name,
      kind: "skipped",
      finding: `not watched; ${pace}. --hold <seconds> keeps a stream open and tells whether something cuts it`,
    };
  await new Promise((resolve) => setTimeout(resolve, holdMs));
  const cutMs = heldMs();
  if (cutMs === undefined) return { name, kind: "passed", finding: `nothing has cut the stream in ${holdMs / 1_000} s` };
  const nextStep = `let proxies and firewalls on the way keep connections that are idle for a minute; ${pace}`;
  return { name, kind: "failed", finding: `the stream was cut after ${(cutMs / 1_000).toFixed(1)} s`, nextStep };
}

async function tryOut(transport: Transport): Promise<TransportHealth> {
  await transport.probe();
  const health = transport.health();
  await transport.stop(0);
  return health;
}

/** A transport says in one sentence what is wrong, and after the last semicolon what to do. */
function judge(name: string, { state, why }: TransportHealth, finding: string): Check {
  if (state === "up") return { name, kind: "passed", finding };
  const [fault = "", ...steps] = why === "" ? [`no answer within ${limits.transportProbeMaxMs} ms`] : why.split("; ");
  const nextStep = steps.length > 0 ? steps.join("; ") : "check the address, and that the coordinator runs and no firewall is in the way";
  return { name, kind: "failed", finding: fault, nextStep };
}

/** Nothing is offered, so nothing is settled. */
const deaf = { onSettled: () => undefined, onChange: () => undefined };

function withoutUndefined(options: { readonly [K in keyof ReporterOptions]?: ReporterOptions[K] | undefined }): Partial<ReporterOptions> {
  // The cast: nothing was taken away but what is undefined.
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<ReporterOptions>;
}
