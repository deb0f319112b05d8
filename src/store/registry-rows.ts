import type { McpConfig } from "../interaction/mcp-config.js";

/** Where a lease stands; the words of LeaseState in the contract. */
export type LeaseState = "alive" | "suspect" | "dead" | "deregistered";

/** A lease without its times. `neededBeats`: signs of life in a row that a suspect one has to show; `steadyBeats`: those it has shown. */
export type Lease = { readonly state: LeaseState; readonly steadyBeats: number; readonly neededBeats: number };

export type Health = "unknown" | "healthy" | "unhealthy";

export type RegistrationSource = "register" | "hello";

/** What an MCP says of itself besides its identity. Texts as they were given; numbers are what they come to, 0 when not said. */
export type McpProfile = {
  readonly type: string;
  readonly capabilities: readonly string[];
  readonly formats: readonly string[];
  readonly minMemory: string;
  readonly minMemoryBytes: number;
  readonly minCpu: string;
  readonly minCpuCores: number;
  readonly gpuRequired: boolean;
  readonly healthCheck: string;
  readonly process: string;
  readonly status: string;
  readonly baseUrl: string;
};

/** A registration as stored. */
export type StoredMcp = {
  readonly mcpId: string;
  readonly name: string;
  readonly version: string;
  readonly instance: string;
  readonly source: RegistrationSource;
  readonly profile: McpProfile;
  readonly config: McpConfig;
  readonly configVersion: number;
  readonly health: Health;
  readonly lease: Lease;
  /** Its own key: both empty when it has none. */
  readonly keyId: string;
  readonly keySha256: string;
  readonly registeredAtMs: number;
  readonly revision: number;
};

/** A registration to be made. */
export type NewRegistration = {
  readonly name: string;
  readonly version: string;
  readonly instance: string;
  readonly profile: McpProfile;
};

/** What a registration by Hello says of itself: nothing. */
export const unsaidProfile: McpProfile = {
  type: "",
  capabilities: [],
  formats: [],
  minMemory: "",
  minMemoryBytes: 0,
  minCpu: "",
  minCpuCores: 0,
  gpuRequired: false,
  healthCheck: "",
  process: "",
  status: "",
  baseUrl: "",
};

/** What Hello on a stream says of an MCP. */
export type GreetedMcp = {
  readonly mcpId: string;
  readonly version: string;
  /** Up to which revision its coordinator knew the registry when it came. */
  readonly seenRevision: number;
  /** How long ago it came when this is called, by a monotonic clock. */
  readonly agoMs: () => number;
};

export type RegisterOptions = {
  readonly coordinatorId: string;
  /** Of a new registration. */
  readonly config: McpConfig;
  /** The only id that the caller may act for; undefined for any. */
  readonly onlyMcpId: string | undefined;
  /** The key to be given to a new registration, or instead of its key when `renewKey`. */
  readonly key: { readonly keyId: string; readonly sha256: string } | undefined;
  readonly renewKey: boolean;
  /** Registrations that there may be, those that have ended not counted. */
  readonly maxCount: number;
};

export type Registered =
  | { readonly kind: "registered"; readonly mcp: StoredMcp; readonly isNew: boolean; readonly isKeyNew: boolean }
  /** The registration is, or would be, another one than the caller may act for; nothing has changed. */
  | { readonly kind: "foreign"; readonly mcpId: string }
  | { readonly kind: "full" };

export type ConfigUpdated =
  | { readonly kind: "updated"; readonly config: McpConfig; readonly version: number }
  | { readonly kind: "mismatch"; readonly version: number }
  | { readonly kind: "unknown" };

/** What is new since a revision. `floor`: see the table registry_head. */
export type RegistryChanges = { readonly revision: number; readonly floor: number; readonly mcps: readonly StoredMcp[] };

/** How often a lease was renewed. Only its growing counts: what a clock says when it was does not. */
export type LeaseBeat = { readonly mcpId: string; readonly state: LeaseState; readonly beat: number; readonly coordinatorId: string };

/** What becomes of leases. */
export type LeaseChange = {
  readonly mcpId: string;
  /** The lease after what happened; the same object when nothing does. */
  readonly next: (lease: Lease) => Lease;
  /** A sign of life: counts as one unless the lease has ended. */
  readonly isBeat: boolean;
  /** Change nothing when the lease was renewed beyond this number meanwhile. */
  readonly expectedBeat: number | undefined;
  /** For the history. */
  readonly reason: string;
};

/** A lease after a change. */
export type ChangedLease = { readonly mcpId: string; readonly before: LeaseState; readonly state: LeaseState };

export type McpHistoryRow = { readonly revision: number; readonly atMs: number; readonly kind: string; readonly detail: string };

/** What one producer said about the configuration of its MCP. */
export type McpConfigAck = {
  readonly mcpId: string;
  readonly producerId: string;
  readonly version: number;
  readonly status: "received" | "applied" | "rejected" | "expired";
  readonly detail: string;
  readonly ackedAtMs: number;
};

/** What is told of one MCP besides its registration. */
export type McpStanding = {
  readonly lastSeenAtMs: number;
  readonly coordinatorId: string;
  readonly acks: readonly McpConfigAck[];
  readonly history: readonly McpHistoryRow[];
};

/** The registry's part of the store. Errors: StoreFault, and nothing else but bugs of ours. */
export type RegistryStore = {
  /** Registers, or finds the registration with this name, version and instance that has not ended; gives it a lease. One transaction. */
  readonly registerMcp: (registration: NewRegistration, options: RegisterOptions) => Promise<Registered>;
  /** Registers those that are not known, and gives all of them a lease. Left out: those that do not fit into `maxCount`, and those deregistered since they came. */
  readonly registerGreeted: (
    greeted: readonly GreetedMcp[],
    options: Pick<RegisterOptions, "coordinatorId" | "config" | "maxCount">,
  ) => Promise<void>;
  /** False when the id is not known. Ending what has ended changes nothing. */
  readonly deregisterMcp: (mcpId: string, reason: string) => Promise<boolean>;
  /** Changes leases, all or none. Unknown ids are left out. */
  readonly changeLeases: (changes: readonly LeaseChange[], coordinatorId: string) => Promise<readonly ChangedLease[]>;
  readonly setMcpHealth: (mcpId: string, health: Health, detail: string) => Promise<void>;
  /** Puts `change` of the configuration in force when its version is the expected one. A change that changes nothing keeps the version. */
  readonly updateMcpConfig: (
    mcpId: string,
    expectedVersion: number,
    change: (config: McpConfig) => McpConfig,
    detail: string,
  ) => Promise<ConfigUpdated>;
  readonly recordMcpConfigAcks: (acks: readonly McpConfigAck[]) => Promise<void>;
  /** Registrations that changed after a revision, also those that have ended. Undefined when none has. */
  readonly readMcpChanges: (afterRevision: number) => Promise<RegistryChanges | undefined>;
  /** Every lease that has not ended. */
  readonly readLeaseBeats: () => Promise<readonly LeaseBeat[]>;
  /** At most `maxCount` acks and `historyCount` entries of history, newest first. Undefined for an id that is not known. */
  readonly readMcpStanding: (mcpId: string, maxCount: number, historyCount: number) => Promise<McpStanding | undefined>;
};
