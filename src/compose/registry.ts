import { randomBytes } from "node:crypto";
import os from "node:os";
import { createKey } from "../auth/new-key.js";
import type { Config } from "../config/schema.js";
import type { Fleet } from "../hub/fleet.js";
import type { SessionRegistry } from "../hub/surroundings.js";
import type { Ingest } from "../ingest/ingest.js";
import { type CollectionRules, collectAll } from "../interaction/collect.js";
import type { McpConfig } from "../interaction/mcp-config.js";
import { hostPort } from "../platform/host-port.js";
import { createVersionJudge } from "../registry/accept-version.js";
import { ConfigAckLog } from "../registry/config-acks.js";
import { Directory } from "../registry/directory.js";
import { LeaseKeeper } from "../registry/keep-leases.js";
import { probeHealth } from "../registry/probe-health.js";
import { createRegistry, type IssuedKey, type Registry } from "../registry/registry.js";
import { type RoutedFleet, routedFleet } from "../registry/routed.js";
import { HealthWatch } from "../registry/watch-health.js";
import type { RegistryServiceDeps } from "../rpc/registry.js";
import type { Store } from "../store/store.js";
import type { Ends, Machine } from "./machine.js";

/** The registry of a coordinator, and what other parts need of it. */
export type RegistryPart = {
  readonly directory: Directory;
  readonly registry: Registry;
  /** What routing sees of the fleet. */
  readonly routed: RoutedFleet;
  readonly sessions: SessionRegistry;
  /** For ingest: rules of an MCP. */
  readonly rulesOf: (mcpId: string) => CollectionRules | undefined;
  readonly service: RegistryServiceDeps;
  /** Begins to keep leases, push configurations and end revoked sessions. */
  readonly follow: (fleet: Fleet, ingest: Ingest) => void;
  /** The port that the web server was given. */
  readonly webPortOpened: (port: number) => void;
};

/** Reads the registry and gives its parts. Errors: StoreFault. */
export async function startRegistry(machine: Machine, store: Store, ends: Ends): Promise<RegistryPart> {
  const { config, log, clock } = machine;
  const { coordinatorId } = config.server;
  const directory = new Directory({ readMcpChanges: store.readMcpChanges, clock, log, isShared: store.kind === "postgres" });
  ends.add(() => directory.close());
  await directory.start();
  const acks = new ConfigAckLog({ record: store.recordMcpConfigAcks, clock, log });
  ends.add(() => acks.close());
  const judgeVersion = createVersionJudge(config.registry.acceptedVersions, config.registry.upgradeHint);
  const defaults = defaultsOf(config);
  const misses = { suspect: config.registry.suspectMisses, dead: Math.max(config.registry.suspectMisses, config.registry.deadMisses) };
  const makeKey = config.registry.issueKeys ? issueKey : undefined;
  const registry = createRegistry({ store, directory, judgeVersion, makeKey, defaults, misses, coordinatorId });
  let liveMcpIds = (): ReadonlySet<string> => new Set();
  const leases = new LeaseKeeper({
    store,
    directory,
    liveMcpIds: () => liveMcpIds(),
    coordinatorId,
    defaults,
    misses,
    clock,
    log,
  });
  let webPort = config.server.webPort;
  return {
    directory,
    registry,
    routed: routedFleet(directory),
    rulesOf: (mcpId) => directory.get(mcpId)?.config.collection,
    sessions: {
      judgeVersion,
      greeted: (mcpId, version) => leases.greeted(mcpId, version),
      configOf: (mcpId) => {
        const mcp = directory.get(mcpId);
        return mcp && { version: mcp.configVersion, config: mcp.config };
      },
      configAcked: ({ mcpId, producerId, answer: { version, status, detail } }) =>
        acks.add({ mcpId, producerId, version, status, detail, ackedAtMs: clock.nowMs() }),
    },
    service: { registry, directory, interactionLogEndpoint: () => endpointOf(config, webPort), noteConfig: (ack) => acks.add(ack), clock },
    follow: (fleet, ingest) => {
      liveMcpIds = () => fleet.liveMcpIds();
      ingest.follow((events) => {
        for (const { mcpId } of events) leases.heard(mcpId);
      });
      directory.subscribe(({ mcps, revokedKeyIds }) => {
        if (mcps.length > 0)
          fleet.mcpConfigsChanged(new Map(mcps.map((mcp) => [mcp.mcpId, { version: mcp.configVersion, config: mcp.config }])));
        if (revokedKeyIds.length > 0) fleet.keysRevoked(new Set(revokedKeyIds));
      });
      leases.start();
      ends.add(() => leases.close());
      startHealthWatch(machine, store, directory, leases, ends);
    },
    webPortOpened: (port) => {
      webPort = port;
    },
  };
}

function startHealthWatch(machine: Machine, store: Store, directory: Directory, leases: LeaseKeeper, ends: Ends): void {
  const { config, log, clock, rng } = machine;
  const { healthCheckAddresses: policy, healthCheckTimeoutMs: timeoutMs, healthCheckIntervalSeconds } = config.registry;
  if (policy === "none") return;
  const watch = new HealthWatch({
    directory,
    isOwner: (mcpId) => leases.isOwner(mcpId),
    probe: (url) => probeHealth({ policy, timeoutMs, clock }, url),
    setMcpHealth: store.setMcpHealth,
    intervalMs: healthCheckIntervalSeconds * 1_000,
    clock,
    rng,
    log,
  });
  watch.start();
  ends.add(() => watch.close());
}

function defaultsOf({ registry, routing }: Config): McpConfig {
  return {
    heartbeatInterval: registry.heartbeatIntervalSeconds,
    dataReportInterval: registry.dataReportIntervalSeconds,
    priority: registry.priority,
    weight: registry.weight,
    maxConcurrentRequests: routing.maxConcurrentDefault,
    draining: false,
    collection: collectAll,
  };
}

/** The name of a key tells that it was issued; its digits tell keys of one MCP apart. */
function issueKey(): IssuedKey {
  return { ...createKey(), keyId: `issued-${randomBytes(6).toString("hex")}` };
}

/** Where the web port takes the documented reports; an address that means any of this machine's is said as its name. */
function endpointOf({ registry, server }: Config, webPort: number): string {
  if (registry.interactionLogEndpoint !== "") return registry.interactionLogEndpoint;
  const host = ["0.0.0.0", "::"].includes(server.host) ? os.hostname() : server.host;
  return `http://${hostPort(host, webPort)}/api/v2/interactions`;
}
