import type { Clock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import type { Router, TargetConfig } from "../router.js";
import {
  changeOperatorConfig,
  diffOperatorConfig,
  documentOf,
  emptyOperatorConfig,
  type OperatorChange,
  type OperatorConfig,
  parseOperatorConfig,
  type SettingChange,
  targetOf,
} from "./operator-config.js";

/** The stored configuration; the same shape as `StoredRoutingConfig` of store/, which this room does not import. */
export type ConfigRow = {
  readonly version: number;
  readonly document: unknown;
  readonly changedAtMs: number | undefined;
  readonly changedBy: string;
};

/** A change to be stored; the same shape as `RoutingConfigWrite` of store/. */
export type ConfigWrite = {
  readonly ifVersion: number;
  readonly document: unknown;
  readonly changedBy: string;
  readonly coordinatorId: string;
  readonly reason: string;
  readonly changes: readonly SettingChange[];
};

export type ConfigBookDeps = {
  readonly read: () => Promise<ConfigRow>;
  /** Undefined, and nothing stored, when another version is in force than `ifVersion`. */
  readonly write: (write: ConfigWrite) => Promise<ConfigRow | undefined>;
  readonly router: Pick<Router, "configure" | "switchPolicy" | "setShadows">;
  /** What an MCP registered with, or `plainTarget`. */
  readonly baseOf: (mcpId: string) => TargetConfig;
  readonly knownPolicyIds: ReadonlySet<string>;
  /** In force where no operator said anything. */
  readonly defaults: { readonly policyId: string; readonly shadowPolicyIds: readonly string[] };
  readonly coordinatorId: string;
  readonly clock: Clock;
  readonly log: Logger;
};

/** The configuration in force here. Times in ms since the Unix epoch. */
export type ConfigInForce = {
  readonly version: number;
  readonly config: OperatorConfig;
  /** What counts after the defaults. */
  readonly policyId: string;
  readonly shadowPolicyIds: readonly string[];
  readonly changedAtMs: number | undefined;
  readonly changedBy: string;
};

export type ChangeRequest = {
  readonly change: OperatorChange;
  readonly changedBy: string;
  readonly reason: string;
  /** 0: whatever is in force. */
  readonly ifVersion: number;
};

/** The routing configuration: stored, followed, and put in force. */
export type ConfigBook = {
  /** Reads what is stored, puts it in force, and follows it from then on. Never rejects: without the store the defaults are in force until it answers. */
  readonly start: () => Promise<void>;
  readonly current: () => ConfigInForce;
  /**
   * Stores a change and puts it in force.
   * Errors: `conflict` CONFIG_CHANGED when `ifVersion` is not in force, or when others kept changing it meanwhile, and CONFIG_UNREADABLE when this version cannot
   * read what is stored, which it must not overwrite then; `invalid` when it would name more than `limits.routedMcpMax` MCPs; what `read` and `write` throw.
   */
  readonly change: (request: ChangeRequest) => Promise<ConfigInForce>;
  /** What an MCP registered with has changed. */
  readonly refresh: (mcpId: string) => void;
  readonly close: () => void;
};

/** A book that asks the store for a newer version every `limits.routingConfigPollMs`. */
export function createConfigBook(deps: ConfigBookDeps): ConfigBook {
  let inForce: ConfigInForce = { version: -1, config: emptyOperatorConfig, ...deps.defaults, changedAtMs: undefined, changedBy: "" };
  let cancelTimer = (): void => {};
  let isClosed = false;
  let isFailing = false;
  /** The last version that could not be read: said once. */
  let unreadable = -1;

  /** Puts a row in force unless it is older than what is. */
  const adopt = (row: ConfigRow): void => {
    if (row.version <= inForce.version) return;
    const config = parseOperatorConfig(row.document);
    if (config === undefined) {
      if (row.version !== unreadable) {
        deps.log.error({ version: row.version }, "the stored routing configuration cannot be read; the last one stays in force");
      }
      unreadable = row.version;
      return;
    }
    const before = inForce;
    inForce = { version: row.version, config, changedAtMs: row.changedAtMs, changedBy: row.changedBy, ...policiesOf(deps, config) };
    enforce(deps, before, inForce);
    if (row.version > 0) deps.log.info({ version: row.version, changedBy: row.changedBy }, "routing configuration in force");
  };

  const poll = async (): Promise<void> => {
    try {
      adopt(await deps.read());
      isFailing = false;
    } catch (error) {
      // The loop's edge: what is in force stays in force until the store answers. Said once.
      if (!isFailing) deps.log.warn({ err: error }, "the routing configuration cannot be read; the last one stays in force");
      isFailing = true;
    }
    if (!isClosed) cancelTimer = deps.clock.after(limits.routingConfigPollMs, () => void poll());
  };

  const change = async ({ change, changedBy, reason, ifVersion }: ChangeRequest): Promise<ConfigInForce> => {
    for (let attempt = 0; attempt < limits.routingConfigMaxAttempts; attempt++) {
      const stored = await deps.read();
      adopt(stored);
      if (ifVersion !== 0 && stored.version !== ifVersion) throw changedError(stored.version);
      const before = parseOperatorConfig(stored.document);
      if (before === undefined) throw unreadableError(stored.version);
      const after = changeOperatorConfig(before, change);
      if (after.mcps.length > limits.routedMcpMax) throw tooManyError();
      const changes = diffOperatorConfig(before, after);
      if (changes.length === 0) return inForce;
      const written = await deps.write({
        ifVersion: stored.version,
        document: documentOf(after, change, stored.document),
        changedBy,
        coordinatorId: deps.coordinatorId,
        reason,
        changes,
      });
      if (written === undefined) continue;
      adopt(written);
      return inForce;
    }
    throw changedError(inForce.version);
  };

  return {
    start: poll,
    current: () => inForce,
    change,
    refresh: (mcpId) => {
      const override = inForce.config.mcps.find((one) => one.mcpId === mcpId);
      deps.router.configure(targetOf(deps.baseOf(mcpId), override), deps.clock.monotonicMs());
    },
    close: () => {
      isClosed = true;
      cancelTimer();
    },
  };
}

/** The policies that count: an unknown one, which a newer coordinator may have stored, leaves the default in force. A policy is not asked along with itself. */
function policiesOf(deps: ConfigBookDeps, config: OperatorConfig): Pick<ConfigInForce, "policyId" | "shadowPolicyIds"> {
  const wanted = config.policyId ?? deps.defaults.policyId;
  const policyId = deps.knownPolicyIds.has(wanted) ? wanted : deps.defaults.policyId;
  const shadows = (config.shadowPolicyIds ?? deps.defaults.shadowPolicyIds).filter((id) => id !== policyId);
  const unknown = [wanted, ...shadows].filter((id) => !deps.knownPolicyIds.has(id));
  if (unknown.length > 0) deps.log.warn({ unknown }, "the routing configuration names policies that this coordinator does not know");
  return { policyId, shadowPolicyIds: shadows.filter((id) => deps.knownPolicyIds.has(id)) };
}

/** Tells the router what differs. */
function enforce({ router, baseOf, clock }: ConfigBookDeps, before: ConfigInForce, after: ConfigInForce): void {
  const nowMs = clock.monotonicMs();
  const overrides = new Map(after.config.mcps.map((one) => [one.mcpId, one]));
  const named = new Set([...before.config.mcps.map(({ mcpId }) => mcpId), ...overrides.keys()]);
  for (const mcpId of named) router.configure(targetOf(baseOf(mcpId), overrides.get(mcpId)), nowMs);
  if (before.policyId !== after.policyId) router.switchPolicy(after.policyId);
  if (before.shadowPolicyIds.join("\n") !== after.shadowPolicyIds.join("\n") || before.policyId !== after.policyId) {
    router.setShadows(after.shadowPolicyIds);
  }
}

function tooManyError(): CoordinatorError {
  const description = `the configuration would name more than ${limits.routedMcpMax} MCPs`;
  return new CoordinatorError("invalid", `mcps: ${description}`, {
    reason: "FIELD_VIOLATION",
    fields: [{ field: "mcps", reason: "TOO_MANY", description }],
  });
}

function unreadableError(version: number): CoordinatorError {
  const message = `version ${version} of the routing configuration cannot be read by this coordinator; change it at one of the version that wrote it`;
  return new CoordinatorError("conflict", message, { reason: "CONFIG_UNREADABLE", metadata: { version: String(version) } });
}

function changedError(version: number): CoordinatorError {
  return new CoordinatorError("conflict", `the routing configuration has changed; version ${version} is in force`, {
    reason: "CONFIG_CHANGED",
    metadata: { version: String(version) },
  });
}
