import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import {
  GetInteractionResponseSchema,
  InteractionService,
  ReportInteractionsResponseSchema,
  StreamInteractionsResponseSchema,
  VerifyEventsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { GetRoutesResponseSchema, RoutingService, WatchRoutesResponseSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Interaction } from "../../src/interaction/event.js";
import { parseInteractionId, parseMcpId } from "../../src/interaction/event.js";
import { type Clock, systemClock } from "../../src/platform/clock.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { type BidiHandlers, grpcService, type Handlers } from "../../src/rpc/adapt-grpc.js";
import { webService } from "../../src/rpc/adapt-web.js";
import { AnswersInHand } from "../../src/rpc/answers-in-hand.js";
import type { CallDeps } from "../../src/rpc/call.js";
import { ConnectionBound, type ConnectionFigures } from "../../src/rpc/connection-bound.js";
import type { HealthCheck } from "../../src/rpc/health-check.js";
import { readImage } from "../../src/rpc/image.js";
import { createLifetime } from "../../src/rpc/lifetime.js";
import { createQueryHandlers } from "../../src/rpc/query.js";
import { createGrpcServer, type GrpcServer } from "../../src/rpc/server-grpc.js";
import { createWebServer, type WebServer } from "../../src/rpc/server-web.js";
import type { Store } from "../../src/store/store.js";

/** The key that the ports of these tests accept, bound to the MCP "ocr". */
export const ocrKey = "Bearer test-key-of-ocr";

export type RpcPorts = AsyncDisposable & {
  readonly grpc: GrpcServer;
  readonly web: WebServer;
  readonly grpcPort: number;
  readonly webPort: number;
  /** `127.0.0.1:<grpcPort>` */
  readonly grpcAddress: string;
  /** `http://127.0.0.1:<webPort>` */
  readonly webUrl: string;
  /** What was logged, one parsed line each. */
  readonly logged: readonly Record<string, unknown>[];
  /** Of the gRPC port. */
  readonly connections: () => ConnectionFigures;
};

export type RpcPortsOptions = {
  readonly interactions?: readonly Interaction[];
  readonly stream?: BidiHandlers<typeof InteractionService>["streamInteractions"];
  readonly routing?: Handlers<typeof RoutingService>;
  readonly report?: Handlers<typeof InteractionService>["reportInteractions"];
  readonly checks?: Readonly<Record<string, HealthCheck>>;
  readonly clock?: Clock;
  /** Knows one key and callers without one, unless given. */
  readonly authenticate?: CallDeps["authenticate"];
  readonly coordinatorId?: string;
  /** Of the gRPC port; 1,000 by default. */
  readonly maxConnections?: number;
  /** Free ones by default. */
  readonly grpcPort?: number;
  readonly webPort?: number;
};

const refuse = async (): Promise<never> => {
  throw new CoordinatorError("unavailable", "nothing is decided here", { reason: "NO_ELIGIBLE_MCP" });
};

/** RPCs of RoutingService that a test of the ports does not need. */
export const noDecisions = {
  selectMcp: refuse,
  releaseDecision: refuse,
  explainDecision: refuse,
  listDecisions: refuse,
  setRoutingConfig: refuse,
  auditDecision: refuse,
  getRoutingConfig: refuse,
};

/** Both ports of a coordinator on free ports of the loopback, over handlers small enough to read: the ports are what these tests are about. */
export async function startRpcPorts(options: RpcPortsOptions = {}): Promise<RpcPorts> {
  const logged: Record<string, unknown>[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => logged.push(JSON.parse(line)) });
  const clock = options.clock ?? systemClock;
  const lifetime = createLifetime();
  const deps: CallDeps = {
    authenticate: options.authenticate ?? authenticateForTest,
    lifetime,
    clock,
    log,
    coordinatorId: options.coordinatorId ?? "coordinator-of-test",
  };
  const interaction: Handlers<typeof InteractionService> & BidiHandlers<typeof InteractionService> = {
    streamInteractions: options.stream ?? noticeEachFrame,
    reportInteractions: options.report ?? (async () => create(ReportInteractionsResponseSchema)),
    verifyEvents: async () => create(VerifyEventsResponseSchema),
    getInteraction: async (request) => {
      if (request.interactionId === "bug") throw new TypeError("secret of the implementation");
      if (request.interactionId === "known")
        return create(GetInteractionResponseSchema, { interaction: { mcpId: request.mcpId, interactionId: "known" } });
      throw new CoordinatorError("not_found", `no event of interaction "${request.interactionId}" is stored`, {
        reason: "INTERACTION_NOT_FOUND",
      });
    },
  };
  const query = createQueryHandlers({ store: storeOf(options.interactions ?? []), readCoordinator: () => figuresOfTest, clock });
  const routing: Handlers<typeof RoutingService> = options.routing ?? {
    ...noDecisions,
    getRoutes: async () => create(GetRoutesResponseSchema, { routes: { version: 7n, policyId: "policy-of-test" } }),
    watchRoutes: async function* () {
      yield create(WatchRoutesResponseSchema, { routes: { version: 7n } });
    },
  };
  const answers = new AnswersInHand(limits.queriesPerConnectionMax);
  const connections = new ConnectionBound(options.maxConnections ?? 1_000, clock, log);
  const grpc = createGrpcServer({
    ...deps,
    clock,
    image: readImage(),
    connections,
    services: [
      grpcService(deps, InteractionService, interaction, answers),
      grpcService(deps, QueryService, query, answers),
      grpcService(deps, RoutingService, routing, answers),
    ],
  });
  const web = createWebServer({
    ...deps,
    clock,
    checks: options.checks ?? { database: async () => {} },
    services: [
      webService(deps, InteractionService, interaction),
      webService(deps, QueryService, query),
      webService(deps, RoutingService, routing),
    ],
  });
  const close = async () => {
    await Promise.all([grpc.close(), web.close()]);
  };
  const starting = Promise.all([grpc.start("127.0.0.1", options.grpcPort ?? 0), web.start("127.0.0.1", options.webPort ?? 0)]);
  const [grpcPort, webPort] = await starting.catch(async (thrown) => {
    await close();
    throw thrown;
  });
  return {
    grpc,
    web,
    grpcPort,
    webPort,
    grpcAddress: `127.0.0.1:${grpcPort}`,
    webUrl: `http://127.0.0.1:${webPort}`,
    logged,
    connections: () => connections.figures,
    [Symbol.asyncDispose]: close,
  };
}

/** A finished interaction; `ageS` seconds before the first of June 2026. */
export function interactionOf(mcpId: string, interactionId: string, ageS: number): Interaction {
  const lastEventAtUs = (1_780_272_000 - ageS) * 1_000_000;
  return {
    mcpId: parseMcpId(mcpId),
    interactionId: parseInteractionId(interactionId),
    state: "completed",
    startedAtUs: lastEventAtUs - 1_500_250,
    endedAtUs: lastEventAtUs,
    lastEventAtUs,
    eventCount: 2,
    missingStart: false,
    conflictingTerminal: false,
    lateEvents: false,
    requestType: "search",
    userPseudonym: "",
    sessionId: "",
    durationMs: 1_500.25,
    success: true,
    qualityScore: 0.5,
    errorCode: "",
    adapterUsed: "",
  };
}

function authenticateForTest(authorization: string | undefined): ReturnType<CallDeps["authenticate"]> {
  if (authorization === undefined) return { kind: "anyone" };
  if (authorization === ocrKey) return { kind: "key", keyId: "k-ocr", mcpId: "ocr" };
  throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
}

export const figuresOfTest = {
  coordinatorId: "coordinator-of-test",
  startedAtMs: 1_780_000_000_000,
  openStreams: 3,
  pendingEvents: 4,
  pendingBytes: 5_000,
  storeAvailable: true,
  events: { stored: 10, duplicate: 2, invalid: 0 },
  deadLetters: 1,
  sessions: {
    grant: { maxEvents: 250, maxBytes: 1 << 20, pressure: "busy" },
    configVersion: 2,
    configCurrent: 3,
    configBehind: 1,
    configRejected: 1,
    loads: [{ mcpId: "ocr", sessionCount: 2, inFlight: 5, queued: 7, utilization: 0.5 }],
  },
} as const;

/** The reads of a store over a list: newest first, filtered, strictly after the cursor. */
function storeOf(interactions: readonly Interaction[]): Pick<Store, "listInteractions" | "readPerformance" | "countInteractions"> {
  const position = (at: { lastEventAtUs: number; mcpId: string; interactionId: string }) =>
    `${String(9e15 - at.lastEventAtUs).padStart(16, "0")}/${at.mcpId}/${at.interactionId}`;
  return {
    listInteractions: async (filter, count, cursor) =>
      interactions
        .filter((one) => filter.mcpId === undefined || one.mcpId === filter.mcpId)
        .filter((one) => filter.state === undefined || one.state === filter.state)
        .filter((one) => filter.requestType === undefined || one.requestType === filter.requestType)
        .filter((one) => filter.sessionId === undefined || one.sessionId === filter.sessionId)
        .filter((one) => cursor === undefined || position(one) > position(cursor))
        .sort((one, other) => (position(one) < position(other) ? -1 : 1))
        .slice(0, count),
    readPerformance: async (mcpId, startMs, endMs) => {
      const ended = interactions.filter(
        (one) => (mcpId === undefined || one.mcpId === mcpId) && one.lastEventAtUs >= startMs * 1_000 && one.lastEventAtUs < endMs * 1_000,
      );
      const figure = ended[0]?.durationMs;
      const all = { avgMs: figure, minMs: figure, maxMs: figure, p50Ms: figure, p95Ms: figure, p99Ms: figure };
      return { total: ended.length, completed: ended.length, failed: 0, ...all };
    },
    countInteractions: async (mcpId) => {
      const total = interactions.filter((one) => mcpId === undefined || one.mcpId === mcpId).length;
      return { total, active: 0, completed: total, failed: 0, averageMs: undefined };
    },
  };
}

/** Answers each frame with a notice that tells what it was. */
const noticeEachFrame: BidiHandlers<typeof InteractionService>["streamInteractions"] = (call) => {
  call.on("data", (frame) => {
    const message = frame.kind === "message" ? (frame.message.frame.case ?? "nothing") : frame.reason;
    call.write(create(StreamInteractionsResponseSchema, { frame: { case: "serverNotice", value: { code: "SEEN", message } } }));
  });
  call.once("end", () => call.end());
};
