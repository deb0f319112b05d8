import type { IncomingMessage, ServerResponse } from "node:http";
import type { Principal } from "../../auth/principal.js";
import type { Ingest } from "../../ingest/ingest.js";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError, type ErrorReason } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import { parseRequestId } from "../../platform/request-id.js";
import { mintUuidV7 } from "../../platform/uuid-v7.js";
import { refusalOf } from "../../store/refusal.js";
import type { Transport, TransportFigures } from "../transport.js";
import type { Answer, HttpCall, Serve } from "./call.js";
import { Callers } from "./callers.js";
import { type Authenticate, judgeKeys } from "./credential.js";
import { answerOfError, envelopeOf } from "./envelope.js";
import { createMetrics, type MetricSource, type Metrics } from "./metrics.js";
import { openApiDocument } from "./openapi.js";
import { type BodyBudget, readJson } from "./read-body.js";
import { createReads, type ReadDeps } from "./reads.js";
import { type Route, routes } from "./routes.js";
import { takeReports } from "./take-reports.js";
import { HttpTally } from "./tally.js";

export type HttpTransportDeps = Pick<ReadDeps, "store" | "checkHealth"> & {
  readonly ingest: Ingest;
  readonly authenticate: Authenticate;
  /** Requests of one key, or of one address without a key. 0 requests per minute: no bound. */
  readonly rate: { readonly requestsPerMinute: number; readonly requestBurst: number };
  /** Aborts when no new work is wanted. */
  readonly draining: AbortSignal;
  /** Aborts when what still runs is given up. */
  readonly stopping: AbortSignal;
  /** Off where reports are not taken at all: only what reads is served then. */
  readonly takesReports: boolean;
  /** Every way in, for GET /metrics. */
  readonly transports: () => readonly TransportFigures[];
  /** Of the streams and of the tables on their way to them, for GET /metrics too. */
  readonly sessions: MetricSource["sessions"];
  readonly routeFigures: MetricSource["routes"];
  readonly connections: MetricSource["connections"];
  readonly clock: Clock;
  readonly log: Logger;
  readonly coordinatorId: string;
};

/** Reports by POST, and what goes with them. It listens on nothing: the web port brings the requests. */
export type HttpTransport = Transport & {
  /** Whether a path, without its query, belongs to the HTTP API; then `serve` answers it. */
  readonly serves: (path: string) => boolean;
  readonly serve: (request: IncomingMessage, response: ServerResponse) => void;
  /** Where others note what happened, for GET /metrics. */
  readonly notes: Pick<Metrics, "committed" | "applied">;
};

/**
 * The HTTP API. Written over node:http and not over a framework: credentials are judged before a body is read, every answer has our envelope, a wrong method
 * is 405, and drain and limits belong to the server of the web port; a framework's parsers, errors and life cycle would all be switched off.
 */
export function createHttpTransport(deps: HttpTransportDeps): HttpTransport {
  const state = { isDraining: false, underWay: new Set<Promise<void>>() };
  const tally = new HttpTally(deps.clock);
  const figures = (): TransportFigures => {
    const isUp = deps.ingest.queue.isAvailable;
    return tally.figures(isUp ? "up" : "down", isUp ? "" : "the store cannot be reached");
  };
  const metrics = createMetrics({
    transports: deps.transports,
    verdicts: () => deps.ingest.tally().counts,
    pendingEvents: () => deps.ingest.queue.pendingEvents,
    pendingBytes: () => deps.ingest.queue.pendingBytes,
    isStoreAvailable: () => deps.ingest.queue.isAvailable,
    sessions: deps.sessions,
    routes: deps.routeFigures,
    connections: deps.connections,
  });
  const served = routes.filter((route) => deps.takesReports || route.body === undefined);
  const desk: Desk = {
    ...deps,
    tally,
    metrics,
    routes: served,
    serveById: servesOf(deps, served, tally, figures),
    budget: { used: 0 },
    wrongKeys: new Callers(limits.httpWrongKeys, deps.clock),
    callers: callersOf(deps),
    isDraining: () => state.isDraining || deps.draining.aborted,
  };
  return {
    serves: (path) => path === metricsPath || path.startsWith("/api/"),
    serve: (request, response) => {
      const served = answer(desk, request, response).finally(() => state.underWay.delete(served));
      state.underWay.add(served);
    },
    notes: metrics,
    start: () => {},
    figures,
    drain: async (graceMs) => {
      state.isDraining = true;
      let cancelTimer = (): void => {};
      const timedOut = new Promise<void>((resolve) => {
        cancelTimer = deps.clock.after(graceMs, resolve);
      });
      await Promise.race([Promise.allSettled(state.underWay), timedOut]);
      cancelTimer();
    },
  };
}

/** What answering one request needs. */
type Desk = Pick<HttpTransportDeps, "authenticate" | "stopping" | "clock" | "log" | "coordinatorId"> & {
  readonly routes: readonly Route[];
  readonly tally: HttpTally;
  readonly metrics: Metrics;
  readonly serveById: Readonly<Record<Route["id"], Serve>>;
  readonly budget: BodyBudget;
  readonly wrongKeys: Callers;
  readonly callers: Callers | undefined;
  readonly isDraining: () => boolean;
};

const metricsPath = "/metrics";

function servesOf(
  deps: HttpTransportDeps,
  served: readonly Route[],
  tally: HttpTally,
  figures: () => TransportFigures,
): Readonly<Record<Route["id"], Serve>> {
  const { ingest, clock } = deps;
  const { queue } = ingest;
  const reads = createReads({ store: deps.store, queue, checkHealth: deps.checkHealth, clock, draining: deps.draining, figures });
  const report: Serve = (call) => takeReports({ ingest, clock, tally }, call);
  const openapi = openApiDocument(served);
  return { ...reads, report, reportUnversioned: report, openapi: () => ({ status: 200, message: "", data: openapi }) };
}

function callersOf({ rate, clock }: HttpTransportDeps): Callers | undefined {
  if (rate.requestsPerMinute === 0) return undefined;
  return new Callers({ burst: rate.requestBurst, perSecond: rate.requestsPerMinute / 60 }, clock);
}

/** Answers one request; never rejects. Loop edge of the API: what is thrown becomes the answer. */
async function answer(desk: Desk, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const startedAtMs = desk.clock.monotonicMs();
  const header = request.headers["x-request-id"];
  const requestId = parseRequestId(typeof header === "string" ? header : undefined) ?? mintUuidV7();
  const [path = "", search = ""] = (request.url ?? "").split("?", 2);
  const known = desk.routes.filter((one) => one.path === path);
  const method = request.method === "HEAD" ? "GET" : request.method;
  const route = known.find((one) => one.method === method);
  const took = () => desk.clock.monotonicMs() - startedAtMs;
  const gone = new AbortController();
  const give = () => gone.abort(desk.stopping.reason);
  response.once("close", () => gone.abort());
  desk.stopping.addEventListener("abort", give, { once: true });
  try {
    if (path === metricsPath) return await sendMetrics(desk, request, response);
    const call = { raw: request, requestId, query: new URLSearchParams(search), signal: gone.signal };
    const said = await serveRoute(desk, route, known, call).catch((thrown: unknown) => refuse(desk, thrown, path, requestId));
    desk.metrics.answered(route?.id ?? "none", said.status, took());
    if (response.destroyed) return;
    const around = { requestId, nowMs: desk.clock.nowMs(), durationMs: took() };
    const body = route?.id === "openapi" && said.status === 200 ? said.data : envelopeOf(said, around);
    send(response, said.status, JSON.stringify(body), {
      "content-type": "application/json",
      "x-request-id": requestId,
      "x-coordinator-node": desk.coordinatorId,
      ...deprecationOf(route ?? known[0]),
      ...said.headers,
    });
  } catch (thrown) {
    desk.log.error({ err: thrown, requestId, path: path.slice(0, limits.idMaxBytes) }, "an answer could not be written");
    response.destroy();
  } finally {
    desk.stopping.removeEventListener("abort", give);
  }
}

async function serveRoute(
  desk: Desk,
  route: Route | undefined,
  known: readonly Route[],
  call: Omit<HttpCall, "principal" | "body">,
): Promise<Answer> {
  if (route === undefined) return refuseRoute(known, call.raw);
  const serve = desk.serveById[route.id];
  if (route.isOpen) return serve({ ...call, principal: { kind: "anyone" }, body: undefined });
  const { authorization } = call.raw.headers;
  const address = call.raw.socket.remoteAddress ?? "";
  if (route.body === undefined) {
    const principal = admit(desk, address, () => desk.authenticate(authorization));
    return serve({ ...call, principal, body: undefined });
  }
  if (desk.isDraining()) throw unavailable("the coordinator shuts down", "COORDINATOR_DRAINING");
  const mayStandIn = route.deprecated !== undefined;
  if (authorization !== undefined || !mayStandIn) admit(desk, address, () => desk.authenticate(authorization), false);
  const body = await readJson(call.raw, desk.budget).catch((thrown: unknown) => {
    desk.tally.take(1)(0); // whatever it was, it is a report that was refused
    throw thrown;
  });
  const principal = admit(desk, address, () => judgeKeys(desk.authenticate, authorization, body, mayStandIn));
  return serve({ ...call, principal, body });
}

/** Who calls, if the credential is right and the caller's allowance is not used up. Wrong keys use up that of the address. */
function admit(desk: Desk, address: string, authenticate: () => Principal, isCounted = true): Principal {
  let principal: Principal;
  try {
    principal = authenticate();
  } catch (thrown) {
    if (thrown instanceof CoordinatorError && thrown.code === "unauthenticated") desk.wrongKeys.take(address); // may throw `busy` instead
    throw thrown;
  }
  if (isCounted) desk.callers?.take(principal.kind === "key" ? `key ${principal.keyId}` : `address ${address}`);
  return principal;
}

function refuseRoute(known: readonly Route[], request: IncomingMessage): Answer {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  if (known.length === 0) {
    return answerOfError(
      new CoordinatorError("not_found", `nothing is served at ${path.slice(0, limits.idMaxBytes)}`, { reason: "NOT_SERVED" }),
    );
  }
  const allow = known.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ");
  const error = new CoordinatorError("invalid", `use ${allow}`, { reason: "NOT_SERVED" });
  return answerOfError(error, { status: 405, headers: { allow } });
}

/** What the caller hears; the log has what it does not. */
function refuse(desk: Desk, thrown: unknown, path: string, requestId: string): Answer {
  const error = refusalOf(thrown);
  if (error.code === "broken")
    desk.log.error({ path, requestId, err: error.cause ?? error }, "a request failed on a bug of the coordinator");
  else if (error.cause !== undefined) desk.log.warn({ path, requestId, err: error.cause, reason: error.reason }, "a request failed");
  return answerOfError(error);
}

function unavailable(message: string, reason: ErrorReason): CoordinatorError {
  return new CoordinatorError("unavailable", message, { reason, retryAfterMs: 1_000 });
}

/** Source: RFC 9745 for Deprecation, RFC 5829 for the link. */
function deprecationOf(route: Route | undefined): Readonly<Record<string, string>> {
  if (route?.deprecated === undefined) return {};
  const { sinceSeconds, successor } = route.deprecated;
  return { deprecation: `@${sinceSeconds}`, link: `<${successor}>; rel="successor-version"` };
}

async function sendMetrics(desk: Desk, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD")
    return send(response, 405, "use GET\n", { allow: "GET, HEAD", "content-type": "text/plain" });
  const { contentType, text } = await desk.metrics.render();
  send(response, 200, text, { "content-type": contentType, "cache-control": "no-store" });
}

function send(response: ServerResponse, status: number, text: string, headers: Readonly<Record<string, string>>): void {
  const body = Buffer.from(text);
  response.writeHead(status, { ...headers, "content-length": String(body.length) }).end(body);
}
