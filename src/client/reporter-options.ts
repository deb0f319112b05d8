import type { Logger } from "pino";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { usableKey } from "./api-key.js";
import type { StreamSessionOptions } from "./options.js";
import type { Resolved } from "./pump.js";
import { isObject } from "./report-values.js";
import type { ReporterState } from "./reporter-state.js";
import { parseTargets } from "./target.js";
import type { TlsOptions } from "./tls.js";
import type { TransportName } from "./transports/transport.js";
import type { Trouble } from "./troubles.js";

/**
 * Options of a reporter. Documented ones have their documented names, in camelCase here and in snake_case in mcp_config.toml. Source: docs/reporter.md, which a test compares.
 */
export type ReporterOptions = {
  /** Web address of the coordinator, or of a proxy with TLS in front of it: "http://mcp-coordinator:8080", "https://mcp.example". A slash at its end is ignored. */
  readonly coordinatorUrl?: string;
  /** Bearer key of this MCP; white space around it is not part of it. Without one no key is sent. */
  readonly apiKey?: string;
  /** The MCP that reports. */
  readonly mcpId: string;
  /** The off switch: false reads, writes and connects nothing, and every call says true. */
  readonly enableReporting?: boolean;
  /** Refusals of one event that may pass before it is set aside. Outages do not count: an event waits for a coordinator as long as the spool keeps it. */
  readonly maxRetries?: number;
  /** First pause before an event is offered again; doubles, with jitter, up to 30 s.     Unit: seconds. */
  readonly retryDelay?: number;
  /** File of the spool; one process may use it at a time. ":memory:" keeps events in memory only. */
  readonly localCachePath?: string;
  /** "auto" uses the best that is up: gRPC, Redis, HTTP, the shared table, of those that have an address. */
  readonly transport?: "auto" | TransportName;
  /** gRPC port of the coordinator, "host:port"; several with commas between. Default: port 50051 of the host in coordinatorUrl. With https:// in front, or beside a coordinatorUrl that has it, TLS is spoken. */
  readonly grpcTarget?: string;
  /** Authorities to trust over TLS, in PEM or as the path of a file. Default: those that Node trusts. */
  readonly tlsCa?: string;
  /** Certificate of this MCP where the proxy asks for one, in PEM or as the path of a file. */
  readonly tlsCert?: string;
  /** Its private key. */
  readonly tlsKey?: string;
  /** The name that the proxy's certificate has to be for. Default: the host of the address. */
  readonly tlsServerName?: string;
  /** Least version of TLS. */
  readonly tlsMinVersion?: "TLSv1.3" | "TLSv1.2";
  /** Redis that the coordinator reads from. */
  readonly redisUrl?: string;
  /** Postgres with the shared table. */
  readonly databaseUrl?: string;
  /** Requests a second, each with up to 500 events. The default is for HTTP alone; a number that is given holds over every transport, for the batches that go to it. */
  readonly requestsPerSecond?: number;
  /** How long `close` waits for verdicts.     Unit: ms. */
  readonly closeMaxMs?: number;
  /** Version of this MCP, for the coordinator's registry. */
  readonly instanceVersion?: string;
  /** Labels of every event. */
  readonly labels?: Readonly<Record<string, string>>;
  /** A pino logger; the reporter logs through a child of it. Default: silent. */
  readonly log?: Logger;
  /** Called when something is wrong that the caller of a report does not see. Must not throw. */
  readonly onTrouble?: (trouble: Trouble) => void;
  /** Called when the transport in use, or the state of the spool, has changed. Must not throw. */
  readonly onState?: (state: ReporterState) => void;
  /** Called once for each event when it is stored, or set aside. Must not throw. */
  readonly onResolved?: (resolved: Resolved) => void;
  /** What reading mcp_config.toml had to say; told as trouble. */
  readonly remarks?: readonly string[];
} & Pick<StreamSessionOptions, "renewKey" | "load" | "router" | "judgeTarget" | "onRoutes" | "onMcpConfig">;

/** Defaults. Those of the documents where they give any. */
export const reporterDefaults = {
  enableReporting: true,
  maxRetries: 3,
  retryDelay: 1,
  localCachePath: "./interaction_cache.db",
  transport: "auto",
  tlsMinVersion: "TLSv1.3",
  requestsPerSecond: 10,
  closeMaxMs: limits.reporterCloseMaxMs,
} as const satisfies Partial<ReporterOptions>;

const grpcDefaultPort = 50_051;

/** Options that can be worked with. */
export type ReporterSettings = Omit<ReporterOptions, "labels"> &
  Required<Pick<ReporterOptions, keyof typeof reporterDefaults>> & {
    readonly labels: Readonly<Record<string, string>>;
    /** `requestsPerSecond` where it was given. */
    readonly throttle: number | undefined;
    /** What may be used, best first. */
    readonly outs: readonly TransportName[];
  };

const preference = ["grpc", "redis", "http", "database"] as const satisfies readonly TransportName[];

/** Reads options, also those of callers without types. Faults name what is wrong; then nothing can be reported. */
export function readOptions(options: ReporterOptions): { readonly settings: ReporterSettings; readonly faults: readonly FieldFault[] } {
  const faults: FieldFault[] = [];
  const fault = (field: string, description: string, reason = "MALFORMED") => faults.push({ field, reason, description });
  const own = withoutUndefined(options);
  const given = { ...reporterDefaults, ...own };
  for (const [name, isRight, what] of shapes) {
    const value: unknown = given[name];
    if (value !== undefined && !isRight(value)) fault(name, `must be ${what}`);
  }
  if (typeof given.mcpId !== "string" || given.mcpId === "") fault("mcpId", "must name the MCP that reports", "REQUIRED");
  const coordinatorUrl =
    typeof given.coordinatorUrl === "string"
      ? given.coordinatorUrl
          .trim()
          .replace(/\/+$/, "")
          .replace(/^https?:/i, (scheme) => scheme.toLowerCase())
      : undefined;
  const url = coordinatorUrl === undefined ? undefined : parseUrl(coordinatorUrl);
  if (coordinatorUrl !== undefined && url === undefined) fault("coordinatorUrl", 'must be a URL such as "http://mcp-coordinator:8080"');
  if (url?.protocol === "http:" && isTlsConfigured(given)) fault("coordinatorUrl", "must begin with https:// where TLS is configured");
  const grpcTarget = given.grpcTarget ?? (url === undefined ? undefined : `${url.hostname}:${grpcDefaultPort}`);
  const addresses = { grpc: grpcTarget, redis: given.redisUrl, http: url && coordinatorUrl, database: given.databaseUrl };
  const wanted = given.transport === "auto" ? preference : preference.filter((name) => name === given.transport);
  const outs = wanted.filter((name) => addresses[name] !== undefined);
  if (outs.length === 0 && given.enableReporting)
    fault(addressNames[given.transport] ?? "coordinatorUrl", "must be given for this transport", "REQUIRED");
  const { log, ...rest } = given;
  const settings: ReporterSettings = {
    ...rest,
    ...(isLogger(log) ? { log } : {}),
    ...(coordinatorUrl === undefined ? {} : { coordinatorUrl }),
    ...(grpcTarget === undefined ? {} : { grpcTarget }),
    ...(typeof given.apiKey === "string" ? { apiKey: usableKey(given.apiKey) ?? "" } : {}),
    ...{ labels: given.labels ?? {}, throttle: own.requestsPerSecond, outs },
  };
  return { settings, faults };
}

const addressNames: Readonly<Record<string, string>> = {
  grpc: "grpcTarget",
  redis: "redisUrl",
  http: "coordinatorUrl",
  database: "databaseUrl",
};

const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
const isWithin =
  (min: number, max: number) =>
  (value: unknown): boolean =>
    typeof value === "number" && value >= min && value <= max;
const isFunction = (value: unknown): boolean => typeof value === "function";
/** Whether it can be logged through; `console` cannot. */
const isLogger = (value: unknown): value is Logger => isObject(value) && ["child", "info", "warn"].every((name) => isFunction(value[name]));
const isTextMap = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.values(value).every((one) => typeof one === "string");

/** What each option must be. */
const shapes: readonly (readonly [keyof ReporterOptions, (value: unknown) => boolean, string])[] = [
  ["coordinatorUrl", isText, "a URL"],
  ["apiKey", (value) => typeof value === "string" && (value.trim() === "" || usableKey(value) !== undefined), "printable ASCII"],
  ["enableReporting", (value) => typeof value === "boolean", "true or false"],
  ["maxRetries", (value) => Number.isInteger(value) && isWithin(0, 1_000)(value), "a whole number, 0 to 1000"],
  ["retryDelay", isWithin(0.001, 3_600), "seconds, 0.001 to 3600"],
  ["localCachePath", isText, "a path"],
  ["transport", (value) => value === "auto" || preference.some((name) => name === value), '"auto", "grpc", "http", "redis" or "database"'],
  [
    "grpcTarget",
    (value) => typeof value === "string" && parseTargets(value) !== undefined,
    "host:port or https://host:port, with brackets around an IPv6 address",
  ],
  ["tlsCa", isText, "PEM, or the path of a file"],
  ["tlsCert", isText, "PEM, or the path of a file"],
  ["tlsKey", isText, "PEM, or the path of a file"],
  ["tlsServerName", isText, "a host name"],
  ["tlsMinVersion", (value) => value === "TLSv1.3" || value === "TLSv1.2", '"TLSv1.3" or "TLSv1.2"'],
  ["redisUrl", isText, "a URL"],
  ["databaseUrl", isText, "a URL"],
  ["requestsPerSecond", isWithin(0.1, 10_000), "a number, 0.1 to 10000"],
  ["closeMaxMs", isWithin(0, 3_600_000), "milliseconds, up to an hour"],
  ["instanceVersion", (value) => typeof value === "string", "a string"],
  ["labels", isTextMap, "an object of strings"],
  ["log", isLogger, "a pino logger"],
  ["onTrouble", isFunction, "a function"],
  ["onState", isFunction, "a function"],
  ["onResolved", isFunction, "a function"],
];

const tlsNames = ["tlsCa", "tlsCert", "tlsKey", "tlsServerName"] as const satisfies readonly (keyof TlsOptions)[];
const isTlsConfigured = (settings: TlsOptions): boolean =>
  tlsNames.some((name) => settings[name] !== undefined) || settings.tlsMinVersion !== reporterDefaults.tlsMinVersion;

/** Whether TLS is spoken where an address does not say: beside a web address that has it, and wherever something is configured for it. */
export function speaksTls(settings: Pick<ReporterSettings, "coordinatorUrl" | keyof TlsOptions>): boolean {
  return settings.coordinatorUrl?.startsWith("https:") === true || isTlsConfigured(settings);
}

function parseUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "http:" || url?.protocol === "https:" ? url : undefined;
}

/** An option that is undefined is one that was not given. */
function withoutUndefined(options: ReporterOptions): ReporterOptions {
  // The cast: nothing was taken away but what is undefined. Callers without types may give no options at all.
  return Object.fromEntries(
    Object.entries(isObject(options) ? options : {}).filter(([, value]) => value !== undefined),
  ) as unknown as ReporterOptions;
}
