import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  DeregisterMcpResponseSchema,
  GetMcpResponseSchema,
  HeartbeatResponseSchema,
  type ListMcpsRequest,
  ListMcpsResponseSchema,
  type Mcp,
  McpSchema,
  type RegisterMcpRequest,
  type RegisterMcpResponse,
  RegisterMcpResponseSchema,
  type RegistryService,
  UpdateMcpConfigResponseSchema,
  type WatchMcpsRequest,
  type WatchMcpsResponse,
  WatchMcpsResponseSchema,
} from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { boundMcpId, mayActFor, type Principal, scopeTo } from "../auth/principal.js";
import { checkConfigChange } from "../interaction/mcp-config.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { checkRegistration } from "../registry/check-registration.js";
import type { Directory } from "../registry/directory.js";
import { fits, type McpFilter } from "../registry/filter.js";
import type { Registry } from "../registry/registry.js";
import { watchMcps } from "../registry/watch.js";
import type { McpConfigAck, StoredMcp } from "../store/registry-rows.js";
import { mcpConfigToProto } from "../wire/mcp-config.js";
import { durationFromMs, timestampFromMs } from "../wire/time.js";
import type { Handlers } from "./adapt-grpc.js";
import type { CallContext } from "./context.js";
import { faultsOfText, fieldsError, refuseFaults } from "./field-faults.js";
import { pageOf } from "./page-bytes.js";
import { filterFromProto, historyToProto, leaseStateToProto, mcpToProto, standingToProto } from "./registry-messages.js";
import { tooManyWatchers } from "./too-many-watchers.js";

export type RegistryServiceDeps = {
  readonly registry: Registry;
  readonly directory: Directory;
  /** Where events can be posted. */
  readonly interactionLogEndpoint: () => string;
  /** Notes which configuration an MCP without a stream says it runs. */
  readonly noteConfig: (ack: McpConfigAck) => void;
  readonly clock: Clock;
};

/** RegistryService. What a credential may not touch it may still see in lists; who runs what, and history, are for those who may act for the MCP. */
export function createRegistryHandlers(deps: RegistryServiceDeps): Handlers<typeof RegistryService> {
  const { registry, directory } = deps;
  let watcherCount = 0;
  return {
    registerMcp: (request, context) => registerMcp(deps, request, context.principal),
    deregisterMcp: async (request, { principal }) => {
      const mcpId = ownMcpId(principal, request.mcpId, faultsOfText("reason", request.reason));
      await registry.deregister(mcpId, request.reason === "" ? "by DeregisterMcp" : request.reason);
      return create(DeregisterMcpResponseSchema);
    },
    heartbeat: async (request, { principal }) => {
      const mcpId = ownMcpId(principal, request.mcpId, []);
      const { mcp, state } = await registry.beat(mcpId);
      if (request.configVersion > 0n) noteHeartbeat(deps, mcpId, request.configVersion);
      return create(HeartbeatResponseSchema, {
        leaseState: leaseStateToProto[state],
        configVersion: BigInt(mcp.configVersion),
        nextHeartbeat: durationFromMs(mcp.config.heartbeatInterval * 1_000),
      });
    },
    getMcp: async (request, { principal }) => {
      const asked = request.mcpId === "" ? (boundMcpId(principal) ?? "") : request.mcpId;
      refuseFaults([...requiredMcpId(asked), ...faultsOfText("mcp_id", asked)]);
      const mcp = await registry.get(asked);
      const isOwn = mayActFor(principal, asked);
      const standing = await registry.standing(asked, request.includeHistory && isOwn);
      return create(GetMcpResponseSchema, {
        mcp: mcpToProto(mcp),
        lastSeenAt: timestampFromMs(standing.lastSeenAtMs),
        coordinatorId: standing.coordinatorId,
        configStandings: isOwn ? standing.acks.map((ack) => standingToProto(ack, mcp.configVersion)) : [],
        history: standing.history.map(historyToProto),
      });
    },
    listMcps: async (request) => {
      const { filter, after, pageSize } = parseList(request);
      const fitting = (await registry.list()).filter((mcp) => fits(filter, mcp) && mcp.mcpId > after).sort(byId);
      const page = pageOf(McpSchema, messagesOf(fitting.slice(0, pageSize)));
      const last = fitting.length > page.length ? page.at(-1) : undefined;
      return create(ListMcpsResponseSchema, {
        mcps: [...page],
        nextPageToken: last === undefined ? "" : formatToken(filter, last.mcpId),
        revision: BigInt(directory.revision),
      });
    },
    watchMcps: async function* (request, context) {
      if (watcherCount >= limits.mcpWatchersMax) throw tooManyWatchers("registrations", limits.mcpWatchersMax);
      watcherCount += 1;
      try {
        yield* watch(directory, request, context);
      } finally {
        watcherCount -= 1;
      }
    },
    updateMcpConfig: async (request, { principal }) => {
      const faults: FieldFault[] = [];
      checkConfigChange(request, (field, reason, description) => {
        if (faults.length < limits.violationMaxCount) faults.push({ field, reason, description });
      });
      if (request.expectedVersion === 0n || request.expectedVersion > BigInt(Number.MAX_SAFE_INTEGER)) {
        faults.push({ field: "expected_version", reason: "REQUIRED", description: "must be the version that GetMcp has shown" });
      }
      const mcpId = ownMcpId(principal, request.mcpId, faults);
      const by = principal.kind === "key" ? `by key ${principal.keyId}` : "by a caller without a key";
      const mcp = await registry.configure(mcpId, Number(request.expectedVersion), request, by);
      return create(UpdateMcpConfigResponseSchema, { config: mcpConfigToProto({ version: mcp.configVersion, config: mcp.config }) });
    },
  };
}

async function registerMcp(deps: RegistryServiceDeps, request: RegisterMcpRequest, principal: Principal): Promise<RegisterMcpResponse> {
  const checked = checkRegistration(request);
  if (checked.kind === "faults") throw fieldsError(checked.faults);
  const { mcp, isNew, apiKey } = await deps.registry.register(checked.registration, boundMcpId(principal), request.renewApiKey);
  const { heartbeatInterval, dataReportInterval, priority, weight, maxConcurrentRequests, draining } = mcp.config;
  return create(RegisterMcpResponseSchema, {
    success: true,
    mcpId: mcp.mcpId,
    created: isNew,
    configVersion: BigInt(mcp.configVersion),
    coordinatorConfig: { interactionLogEndpoint: deps.interactionLogEndpoint(), heartbeatInterval, dataReportInterval, apiKey },
    routingConfig: { priority, weight, maxConcurrentRequests, draining },
  });
}

function noteHeartbeat(deps: RegistryServiceDeps, mcpId: string, version: bigint): void {
  if (version > BigInt(Number.MAX_SAFE_INTEGER)) return; // nobody was ever given such a version
  deps.noteConfig({ mcpId, producerId: "", version: Number(version), status: "applied", detail: "", ackedAtMs: deps.clock.nowMs() });
}

async function* watch(directory: Directory, request: WatchMcpsRequest, context: CallContext): AsyncGenerator<WatchMcpsResponse> {
  const { filter, faults } = filterFromProto(request.filter);
  refuseFaults(faults);
  const after = request.afterRevision > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(request.afterRevision);
  for await (const { mcps, revision } of watchMcps(directory, filter, after, context.signal)) {
    let sent = 0;
    do {
      const page = pageOf(McpSchema, messagesOf(mcps.slice(sent)));
      sent += page.length;
      yield create(WatchMcpsResponseSchema, { mcps: [...page], revision: sent < mcps.length ? 0n : BigInt(revision) });
    } while (sent < mcps.length);
  }
}

/** Made one by one, as they are asked for. */
function* messagesOf(mcps: readonly StoredMcp[]): Generator<Mcp> {
  for (const mcp of mcps) yield create(McpSchema, mcpToProto(mcp));
}

/** What a list is about. Throws all faults of the request at once. */
function parseList(request: ListMcpsRequest): { readonly filter: McpFilter; readonly after: string; readonly pageSize: number } {
  const { filter, faults } = filterFromProto(request.filter);
  const description = `must be 1 to ${limits.pageMaxCount}, or 0 for ${limits.pageDefaultCount}`;
  const sized = request.pageSize > limits.pageMaxCount ? [{ field: "page_size", reason: "OUT_OF_RANGE", description }] : [];
  refuseFaults([...faults, ...sized]);
  return {
    filter,
    after: parseToken(filter, request.pageToken),
    pageSize: request.pageSize === 0 ? limits.pageDefaultCount : request.pageSize,
  };
}

/** The place after an MCP in the list of a filter. Opaque to callers; holds nothing that the page did not show. */
function formatToken(filter: McpFilter, mcpId: string): string {
  return Buffer.from(`${fingerprint(filter)}${mcpId}`).toString("base64url");
}

/** Empty for the first page. Errors: `invalid` with PAGE_TOKEN_INVALID. */
function parseToken(filter: McpFilter, token: string): string {
  if (token === "") return "";
  const text = token.length > limits.pageTokenMaxChars ? "" : Buffer.from(token, "base64url").toString("utf8");
  if (text.startsWith(fingerprint(filter)) && text.length > fingerprintLength) return text.slice(fingerprintLength);
  const description = "is not one that this list gave out";
  throw new CoordinatorError("invalid", `page_token ${description}`, {
    reason: "PAGE_TOKEN_INVALID",
    fields: [{ field: "page_token", reason: "MALFORMED", description }],
  });
}

const fingerprintLength = 16;

function fingerprint(filter: McpFilter): string {
  const parts = [filter.name, filter.capability, filter.type, filter.format, filter.leaseState, filter.health].map((part) => part ?? null);
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, fingerprintLength);
}

const byId = (one: StoredMcp, other: StoredMcp): number => (one.mcpId < other.mcpId ? -1 : 1);

/** The MCP that a call is about, which its credential may act for. Throws all faults of the request at once. */
function ownMcpId(principal: Principal, asked: string, faults: readonly FieldFault[]): string {
  refuseFaults([...faultsOfText("mcp_id", asked), ...faults]);
  const mcpId = scopeTo(principal, asked) ?? "";
  refuseFaults(requiredMcpId(mcpId));
  return mcpId;
}

function requiredMcpId(mcpId: string): readonly FieldFault[] {
  return mcpId === "" ? [{ field: "mcp_id", reason: "REQUIRED", description: "must not be empty" }] : [];
}
