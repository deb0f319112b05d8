import { z } from "zod";
import { compareIds } from "../order.js";
import type { TargetConfig } from "../router.js";

/** What an operator says of one MCP. Undefined means: as it registered, else the default. Bounds are in `limits` and checked where a change comes in. */
export type McpOverride = {
  readonly mcpId: string;
  readonly priority: number | undefined;
  readonly weight: number | undefined;
  readonly maxConcurrent: number | undefined;
  readonly costPerRequest: number | undefined;
  readonly isDraining: boolean | undefined;
};

/** What operators have decided about routing. */
export type OperatorConfig = {
  /** Undefined: the policy that the coordinator was started with. */
  readonly policyId: string | undefined;
  /** Undefined: those that the coordinator was started with. */
  readonly shadowPolicyIds: readonly string[] | undefined;
  /** Ascending by mcpId; each says something. */
  readonly mcps: readonly McpOverride[];
};

/** A change to it. What is undefined stays as it is. */
export type OperatorChange = {
  readonly policyId: string | undefined;
  readonly shadowPolicyIds: readonly string[] | undefined;
  /** Of each MCP, what is not undefined replaces what was said before. */
  readonly mcps: readonly McpOverride[];
  /** Of these everything is taken back, before `mcps` is looked at. */
  readonly reset: readonly string[];
};

/** One setting before and after, as JSON texts; empty means not set. */
export type SettingChange = { readonly setting: string; readonly oldValue: string; readonly newValue: string };

export const emptyOperatorConfig: OperatorConfig = { policyId: undefined, shadowPolicyIds: undefined, mcps: [] };

const overrideShape = z.object({
  mcpId: z.string(),
  priority: z.number().optional(),
  weight: z.number().optional(),
  maxConcurrent: z.number().optional(),
  costPerRequest: z.number().optional(),
  isDraining: z.boolean().optional(),
});

const documentShape = z.object({
  policyId: z.string().optional(),
  shadowPolicyIds: z.array(z.string()).optional(),
  mcps: z.array(overrideShape).default([]),
});

/** The configuration in a stored document; undefined when it is none that this version can read. Members that it does not know are left out. */
export function parseOperatorConfig(document: unknown): OperatorConfig | undefined {
  const parsed = documentShape.safeParse(document);
  if (!parsed.success) return undefined;
  const { policyId, shadowPolicyIds, mcps } = parsed.data;
  return {
    policyId,
    shadowPolicyIds,
    mcps: mcps.map(overrideOf),
  };
}

/** With a member for each thing that may be said. */
function overrideOf({ mcpId, priority, weight, maxConcurrent, costPerRequest, isDraining }: z.infer<typeof overrideShape>): McpOverride {
  return { mcpId, priority, weight, maxConcurrent, costPerRequest, isDraining };
}

/** The configuration after a change. Pure; the same change again changes nothing more. */
export function changeOperatorConfig(config: OperatorConfig, change: OperatorChange): OperatorConfig {
  const mcps = new Map(config.mcps.map((one) => [one.mcpId, one]));
  for (const mcpId of change.reset) mcps.delete(mcpId);
  for (const next of change.mcps) {
    const merged = mergeOverride(mcps.get(next.mcpId), next);
    if (saysSomething(merged)) mcps.set(next.mcpId, merged);
  }
  return {
    policyId: change.policyId ?? config.policyId,
    shadowPolicyIds: change.shadowPolicyIds ?? config.shadowPolicyIds,
    mcps: [...mcps.values()].sort((a, b) => compareIds(a.mcpId, b.mcpId)),
  };
}

/**
 * What is to be stored: `config`, which `change` made of `stored`, and every member that a newer version wrote and this one does not know. Of an MCP that is taken
 * back nothing stays.
 */
export function documentOf(config: OperatorConfig, change: OperatorChange, stored: unknown): Readonly<Record<string, unknown>> {
  const { mcps, ...rest } = config;
  const before = membersOf(stored);
  const old = new Map((Array.isArray(before.mcps) ? before.mcps : []).map(membersOf).map((one) => [one.mcpId, one]));
  for (const mcpId of change.reset) old.delete(mcpId);
  return { ...before, ...rest, mcps: mcps.map((one) => ({ ...old.get(one.mcpId), ...one })) };
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

/** Every setting in which the two differ, for the audit; empty when they are equal. */
export function diffOperatorConfig(before: OperatorConfig, after: OperatorConfig): readonly SettingChange[] {
  const [old, next] = [settingsOf(before), settingsOf(after)];
  return [...new Set([...old.keys(), ...next.keys()])]
    .map((setting) => ({ setting, oldValue: old.get(setting) ?? "", newValue: next.get(setting) ?? "" }))
    .filter(({ oldValue, newValue }) => oldValue !== newValue);
}

/** What counts for an MCP: what the operator says, else what it registered with. */
export function targetOf(base: TargetConfig, override: McpOverride | undefined): TargetConfig {
  if (override === undefined) return base;
  return {
    ...base,
    priority: override.priority ?? base.priority,
    weight: override.weight ?? base.weight,
    maxConcurrent: override.maxConcurrent ?? base.maxConcurrent,
    costPerRequest: override.costPerRequest,
    isDraining: override.isDraining ?? base.isDraining,
    isExpected: true,
  };
}

function mergeOverride(old: McpOverride | undefined, next: McpOverride): McpOverride {
  return {
    mcpId: next.mcpId,
    priority: next.priority ?? old?.priority,
    weight: next.weight ?? old?.weight,
    maxConcurrent: next.maxConcurrent ?? old?.maxConcurrent,
    costPerRequest: next.costPerRequest ?? old?.costPerRequest,
    isDraining: next.isDraining ?? old?.isDraining,
  };
}

function saysSomething({ mcpId: _, ...settings }: McpOverride): boolean {
  return Object.values(settings).some((value) => value !== undefined);
}

/** Each setting that is set, by the name that the contract gives it. */
function settingsOf(config: OperatorConfig): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  const put = (name: string, value: unknown): void => {
    if (value !== undefined) settings.set(name, JSON.stringify(value));
  };
  put("policy_id", config.policyId);
  put("shadow_policy_ids", config.shadowPolicyIds);
  for (const { mcpId, priority, weight, maxConcurrent, costPerRequest, isDraining } of config.mcps) {
    put(`mcps[${mcpId}].priority`, priority);
    put(`mcps[${mcpId}].weight`, weight);
    put(`mcps[${mcpId}].max_concurrent_requests`, maxConcurrent);
    put(`mcps[${mcpId}].cost_per_request`, costPerRequest);
    put(`mcps[${mcpId}].drain`, isDraining);
  }
  return settings;
}
