import { lookup } from "node:dns/promises";
import { readMcpConfig } from "../client/read-config.js";
import { type ReporterOptions, type ReporterSettings, readOptions } from "../client/reporter-options.js";
import { createGrpcTransport } from "../client/transports/grpc.js";
import { createHttpTransport } from "../client/transports/http.js";
import type { Transport, TransportHealth } from "../client/transports/transport.js";
import { coordinatorVersion } from "../config/version.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { systemRng } from "../platform/rng.js";
import { parseVersion } from "../platform/semver.js";
import type { Check } from "./checks.js";

/** Where doctor looks from the side of an MCP. */
export type ReporterTarget = {
  /** mcp_config.toml; the others win over what is in it. */
  readonly mcpConfig: string | undefined;
  readonly coordinatorUrl: string | undefined;
  readonly grpcTarget: string | undefined;
  /** The MCP whose stream is opened, and which a bound key must name. */
  readonly mcpId: string | undefined;
  readonly key: string | undefined;
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
  const { coordinatorUrl, grpcTarget, mcpId, key } = target;
  const { settings, faults } = readOptions({
    ...(fromFile ?? { mcpId: "doctor" }),
    ...withoutUndefined({ coordinatorUrl, grpcTarget, mcpId, apiKey: key }),
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
  return [...remarks, ...isOff, ...(await examineHttp(clock, settings)), ...(await examineGrpc(clock, settings, target.holdMs))];
}

async function examineHttp(clock: Clock, settings: ReporterSettings): Promise<readonly Check[]> {
  const { coordinatorUrl: url, mcpId, requestsPerSecond, maxRetries } = settings;
  if (url === undefined) return [{ name: "http", kind: "skipped", finding: "no coordinatorUrl" }];
  const dns = await examineName(new URL(url).hostname);
  if (dns.kind === "failed") return [dns];
  const key = settings.apiKey;
  const health = await tryOut(createHttpTransport({ url, key, mcpId, requestsPerSecond, maxRetries, clock }, deaf));
  const http = judge("http and key", health, `${url} answers, and takes ${key === undefined ? "reports without a key" : "the key"}`);
  return [dns, judgeTls(url), http, ...(await examineServer(clock, url))];
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
export function judgeTls(url: string): Check {
  if (url.startsWith("https:")) return { name: "tls", kind: "passed", finding: "the web address is HTTPS" };
  return {
    name: "tls",
    kind: "skipped",
    finding: "plain text: keys and reports can be read on the way; outside of a trusted network put a proxy with TLS in front",
  };
}

/** What `/health` says about the coordinator's clock and version. */
async function examineServer(clock: Clock, url: string): Promise<readonly Check[]> {
  try {
    const startedMs = clock.nowMs();
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(answerMaxMs), redirect: "error" });
    const body: unknown = await answer.json();
    const version = typeof body === "object" && body !== null && "version" in body ? body.version : undefined;
    return [
      judgeSkew(answer.headers.get("date"), startedMs, clock.nowMs()),
      judgeVersion(typeof version === "string" ? version : undefined),
    ];
  } catch (thrown) {
    // Translated: who does not answer here has failed the check before, with its next step.
    return [
      {
        name: "clock skew",
        kind: "skipped",
        finding: `/health does not answer: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      },
    ];
  }
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

/** Same major version, or one that does not say. */
export function judgeVersion(version: string | undefined): Check {
  const name = "version";
  if (version === undefined)
    return { name, kind: "skipped", finding: `this client is ${coordinatorVersion}; the coordinator does not say which it is` };
  const finding = `this client is ${coordinatorVersion}, the coordinator ${version}`;
  if (parseVersion(version)?.major === parseVersion(coordinatorVersion)?.major) return { name, kind: "passed", finding };
  return { name, kind: "failed", finding, nextStep: "use the client of the coordinator's major version" };
}

async function examineGrpc(clock: Clock, settings: ReporterSettings, holdMs: number): Promise<readonly Check[]> {
  const { grpcTarget = "", mcpId, maxRetries } = settings;
  const key = settings.apiKey;
  const transport = createGrpcTransport({ endpoint: { target: grpcTarget, key }, mcpId, maxRetries, clock, rng: systemRng }, deaf);
  await transport.probe();
  const health = transport.health();
  const grpc = judge("grpc", health, `${grpcTarget} holds a stream`);
  const idle = health.state === "up" ? await watchIdle(transport, holdMs) : undefined;
  await transport.stop(0);
  return idle === undefined ? [grpc] : [grpc, idle];
}

async function watchIdle(transport: Transport, holdMs: number): Promise<Check> {
  const name = "idle cut-off";
  const pace = `heartbeats go every ${limits.heartbeatIntervalMs / 1_000} s`;
  if (holdMs === 0)
    return {
      name,
      kind: "skipped",
      finding: `not watched; ${pace}. --hold <seconds> keeps a stream open and tells whether something cuts it`,
    };
  await new Promise((resolve) => setTimeout(resolve, holdMs));
  const { state, why } = transport.health();
  if (state === "up") return { name, kind: "passed", finding: `nothing has cut the stream in ${holdMs / 1_000} s` };
  const nextStep = `let proxies and firewalls on the way keep connections that are idle for a minute; ${pace}`;
  return { name, kind: "failed", finding: `the stream was cut: ${why}`, nextStep };
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
