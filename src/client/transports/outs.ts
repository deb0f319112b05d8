import type { Clock } from "../../platform/clock.js";
import type { Rng } from "../../platform/rng.js";
import { type ReporterSettings, speaksTls } from "../reporter-options.js";
import type { Tls } from "../tls.js";
import type { WayOut } from "../ways.js";

/** The transports that the settings name, best first. Each is loaded when it is opened, and never otherwise. */
export function outsOf(settings: ReporterSettings, { clock, rng }: { readonly clock: Clock; readonly rng: Rng }): readonly WayOut[] {
  const { mcpId, apiKey, maxRetries } = settings;
  const key = apiKey === "" ? undefined : apiKey;
  const outs: readonly WayOut[] = [
    {
      name: "grpc",
      open: async (events) => {
        const { createGrpcTransport } = await import("./grpc.js");
        const { renewKey, load, router, judgeTarget, onRoutes, onMcpConfig, instanceVersion, grpcTarget = "" } = settings;
        const passed = { renewKey, load, router, judgeTarget, onRoutes, onMcpConfig, instanceVersion };
        const endpoint = { target: grpcTarget, key, tls: await tlsOf(settings) };
        return createGrpcTransport({ endpoint, mcpId, maxRetries, clock, rng, ...given(passed) }, events);
      },
    },
    {
      name: "http",
      open: async (events) => {
        const { createHttpTransport } = await import("./http.js");
        const { coordinatorUrl: url = "", requestsPerSecond } = settings;
        return createHttpTransport({ url, tls: await tlsOf(settings), key, mcpId, requestsPerSecond, maxRetries, clock }, events);
      },
    },
    {
      name: "redis",
      open: async (events) => {
        const { createRedisTransport } = await import("./redis.js");
        return createRedisTransport({ url: settings.redisUrl ?? "", mcpId, clock, rng, ...given({ apiKey: key }) }, events);
      },
    },
    {
      name: "database",
      open: async (events) => {
        const { createDatabaseTransport } = await import("./database.js");
        return createDatabaseTransport({ databaseUrl: settings.databaseUrl ?? "", mcpId, clock, rng }, events);
      },
    },
  ];
  return settings.outs.flatMap((name) => outs.filter((out) => out.name === name));
}

/** The files are read when a transport is opened that needs them, and not before. Rejects with what is wrong with them. */
export async function tlsOf(settings: ReporterSettings): Promise<Tls | undefined> {
  if (!speaksTls(settings)) return undefined;
  const { openTls } = await import("../tls.js");
  return openTls(settings);
}

type Given<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the members that are undefined. */
function given<T extends object>(members: T): Given<T> {
  // The cast: what is left has no undefined in it.
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Given<T>;
}
