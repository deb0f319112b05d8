import type { McpConfig, McpConfigChange } from "../interaction/mcp-config.js";
import { changeConfig } from "../interaction/mcp-config.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { LeaseState, McpStanding, NewRegistration, RegistryStore, StoredMcp } from "../store/registry-rows.js";
import type { VersionJudge } from "./accept-version.js";
import type { Directory } from "./directory.js";
import { termsOf } from "./keep-leases.js";
import { stepLease } from "./lease.js";

/** A key as it is made: `key` is shown once and kept nowhere. */
export type IssuedKey = { readonly key: string; readonly keyId: string; readonly sha256: string };

export type RegistryDeps = {
  readonly store: RegistryStore;
  readonly directory: Directory;
  readonly judgeVersion: VersionJudge;
  /** Makes a key; undefined where none are issued. */
  readonly makeKey: (() => IssuedKey) | undefined;
  readonly defaults: McpConfig;
  readonly misses: { readonly suspect: number; readonly dead: number };
  readonly coordinatorId: string;
};

/** The operations on registrations. Errors: CoordinatorError for what the caller did, StoreFault. */
export type Registry = {
  /** `onlyMcpId`: the only MCP that the caller may act for. `apiKey` is empty unless a key was made for this registration now. */
  readonly register: (
    registration: NewRegistration,
    onlyMcpId: string | undefined,
    renewKey: boolean,
  ) => Promise<{ readonly mcp: StoredMcp; readonly isNew: boolean; readonly apiKey: string }>;
  readonly deregister: (mcpId: string, reason: string) => Promise<void>;
  /** Where the lease stands after a sign of life. */
  readonly beat: (mcpId: string) => Promise<{ readonly mcp: StoredMcp; readonly state: LeaseState }>;
  readonly get: (mcpId: string) => Promise<StoredMcp>;
  readonly standing: (mcpId: string, hasHistory: boolean) => Promise<McpStanding>;
  /** Everything that was committed before this call, in no order. */
  readonly list: () => Promise<readonly StoredMcp[]>;
  /** `detail` is for the history. `change` has passed checkConfigChange. */
  readonly configure: (mcpId: string, expectedVersion: number, change: McpConfigChange, detail: string) => Promise<StoredMcp>;
};

export function createRegistry(deps: RegistryDeps): Registry {
  const { store, directory } = deps;
  const get = async (mcpId: string): Promise<StoredMcp> => {
    await directory.refresh();
    const mcp = directory.get(mcpId);
    if (mcp === undefined) throw unknownMcp(mcpId);
    return mcp;
  };
  return {
    get,
    register: (registration, onlyMcpId, renewKey) => register(deps, registration, onlyMcpId, renewKey),
    deregister: async (mcpId, reason) => {
      if (!(await store.deregisterMcp(mcpId, reason))) throw unknownMcp(mcpId);
      await directory.refresh();
    },
    beat: async (mcpId) => {
      const mcp = directory.get(mcpId) ?? (await get(mcpId));
      const terms = termsOf(mcp, deps.misses);
      const change = {
        next: (lease: StoredMcp["lease"]) => stepLease(lease, { kind: "beat" }, terms),
        isBeat: true,
        expectedBeat: undefined,
      };
      const [changed] = await store.changeLeases([{ ...change, mcpId, reason: "a heartbeat came" }], deps.coordinatorId);
      if (changed === undefined) throw unknownMcp(mcpId);
      if (changed.state !== changed.before) await directory.refresh();
      if (changed.state === "dead") throw ended("LEASE_DEAD", `the lease of "${mcpId}" has ended: register again`);
      if (changed.state === "deregistered") throw ended("MCP_DEREGISTERED", `"${mcpId}" was deregistered: register again`);
      return { mcp: directory.get(mcpId) ?? mcp, state: changed.state };
    },
    standing: async (mcpId, hasHistory) => {
      const count = limits.mcpStandingMaxCount;
      const standing = await store.readMcpStanding(mcpId, count, hasHistory ? count : 0);
      if (standing === undefined) throw unknownMcp(mcpId);
      return standing;
    },
    list: async () => {
      await directory.refresh();
      return [...directory.all()];
    },
    configure: async (mcpId, expectedVersion, change, detail) => {
      const updated = await store.updateMcpConfig(mcpId, expectedVersion, (config) => changeConfig(config, change), detail);
      if (updated.kind === "mismatch") throw mismatch(mcpId, expectedVersion, updated.version);
      const mcp = await get(mcpId);
      if (updated.kind === "unknown") throw ended("MCP_DEREGISTERED", `"${mcpId}" was deregistered: it has no configuration`);
      return mcp;
    },
  };
}

async function register(
  deps: RegistryDeps,
  registration: NewRegistration,
  onlyMcpId: string | undefined,
  renewKey: boolean,
): Promise<{ readonly mcp: StoredMcp; readonly isNew: boolean; readonly apiKey: string }> {
  const refusal = deps.judgeVersion(registration.version);
  if (refusal !== undefined) throw refusal;
  const issued = deps.makeKey?.();
  const registered = await deps.store.registerMcp(registration, {
    coordinatorId: deps.coordinatorId,
    config: deps.defaults,
    onlyMcpId,
    key: issued,
    renewKey,
    maxCount: limits.registrationsMax,
  });
  if (registered.kind === "foreign") {
    const message = `this key may act for mcp_id "${onlyMcpId}" only, and this registration is "${registered.mcpId}"`;
    throw new CoordinatorError("forbidden", message, { reason: "MCP_NOT_ALLOWED" });
  }
  if (registered.kind === "full") {
    const description = `${limits.registrationsMax} registrations are there, as many as there may be`;
    throw new CoordinatorError("busy", description, { reason: "REGISTRATIONS_EXHAUSTED", quota: { subject: "registry", description } });
  }
  await deps.directory.refresh();
  return { mcp: registered.mcp, isNew: registered.isNew, apiKey: registered.isKeyNew ? (issued?.key ?? "") : "" };
}

function unknownMcp(mcpId: string): CoordinatorError {
  return new CoordinatorError("not_found", `no registration has mcp_id "${mcpId}"`, { reason: "MCP_NOT_FOUND" });
}

function ended(reason: "LEASE_DEAD" | "MCP_DEREGISTERED", message: string): CoordinatorError {
  return new CoordinatorError("failed_precondition", message, { reason });
}

function mismatch(mcpId: string, expected: number, version: number): CoordinatorError {
  const message = `the configuration of "${mcpId}" is version ${version}, not ${expected}: read it with GetMcp and decide again`;
  return new CoordinatorError("failed_precondition", message, {
    reason: "CONFIG_VERSION_MISMATCH",
    metadata: { version: String(version) },
  });
}
