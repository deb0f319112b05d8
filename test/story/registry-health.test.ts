import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HealthState } from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { systemClock } from "../../src/platform/clock.js";
import { probeHealth } from "../../src/registry/probe-health.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { RegistryClient } from "../support/registry-client.js";

/** An MCP's own web server; `answer` may be changed while it runs. */
class Endpoint {
  readonly #server: Server;
  answer: RequestListener;
  readonly asked: string[] = [];
  url = "";

  constructor(answer: RequestListener) {
    this.answer = answer;
    this.#server = createServer((request, response) => {
      this.asked.push(request.url ?? "");
      this.answer(request, response);
    });
  }

  async start(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    this.url = typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}` : "";
    return this;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const well: RequestListener = (_, response) => void response.end("ok");
const failing: RequestListener = (_, response) => void response.writeHead(503).end();
const silent: RequestListener = () => {};
const redirect =
  (location: string): RequestListener =>
  (request, response) => {
    if (request.url === "/moved") well(request, response);
    else response.writeHead(302, { location }).end();
  };

describe("one check of a health endpoint", () => {
  const deps = { policy: "any", timeoutMs: 60_000, clock: systemClock } as const;
  /** For those that never answer: the others have all the time that a busy machine takes. */
  const briefMs = 300;
  const open: Endpoint[] = [];
  const serve = async (answer: RequestListener): Promise<Endpoint> => {
    const endpoint = await new Endpoint(answer).start();
    open.push(endpoint);
    return endpoint;
  };
  afterAll(() => {
    for (const endpoint of open) endpoint.stop();
  });
  const check = async (endpoint: Endpoint, policy: "any" | "private" | "public" | "none" = "any", timeoutMs: number = deps.timeoutMs) =>
    probeHealth({ ...deps, policy, timeoutMs }, new URL("/health", endpoint.url));

  it("passes with 200, and asks the path that was registered", async () => {
    const endpoint = await serve(well);
    expect(await check(endpoint)).toEqual({ kind: "passed" });
    expect(endpoint.asked).toEqual(["/health"]);
  });

  it("fails with 503, and without an answer in time", async () => {
    expect(await check(await serve(failing))).toEqual({ kind: "failed", why: "answered 503" });
    expect(await check(await serve(silent), "any", briefMs)).toEqual({ kind: "failed", why: "no answer within 300 ms" });
  });

  it("fails in time when the answer never ends", async () => {
    const trickle: RequestListener = (_, response) => {
      response.writeHead(200);
      response.write("o");
    };
    expect(await check(await serve(trickle), "any", briefMs)).toEqual({ kind: "failed", why: "no answer within 300 ms" });
  });

  it("cuts an answer that is too long, and takes its status", async () => {
    const endless: RequestListener = (_, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
        response.once("drain", more);
      };
      more();
    };
    expect(await check(await serve(endless))).toEqual({ kind: "passed" });
  });

  it("follows a redirect on its own host, and none to another", async () => {
    const other = await serve(well);
    expect(await check(await serve(redirect("/moved")))).toEqual({ kind: "passed" });
    expect(await check(await serve(redirect(`${other.url}/moved`)))).toEqual({
      kind: "failed",
      why: "answered 302, a redirect to another host, which is not followed",
    });
    expect(other.asked).toEqual([]);
    expect(await check(await serve(redirect("/again")))).toEqual({ kind: "failed", why: "redirected more than 3 times" });
  });

  it.each(["private", "public", "none"] as const)(
    "connects to no loopback address under the policy %s, whatever it is called",
    async (policy) => {
      const endpoint = await serve(well);
      const port = new URL(endpoint.url).port;
      for (const host of ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"]) {
        const result = await probeHealth({ ...deps, policy }, new URL(`http://${host}:${port}/health`));
        expect(`${host} ${result.kind === "failed" ? result.why : "passed"}`).toContain(
          "is not an address that registry.health_check_addresses admits",
        );
      }
      expect(endpoint.asked).toEqual([]);
    },
  );

  it("fails where nobody listens, and where the name means nothing", async () => {
    const gone = await serve(well);
    gone.stop();
    expect(await check(gone)).toEqual({ kind: "failed", why: "could not be asked: ECONNREFUSED" });
    expect((await probeHealth({ ...deps, timeoutMs: briefMs }, new URL("http://no-such-host.invalid/health"))).kind).toBe("failed");
  });
});

describe("a coordinator that checks health endpoints", () => {
  let coordinator: RunningCoordinator;
  let registry: RegistryClient;
  let endpoint: Endpoint;
  beforeAll(async () => {
    endpoint = await new Endpoint(well).start();
    const config =
      '[registry]\nheartbeat_interval_seconds = 2\ndead_misses = 1000\nsuspect_misses = 100\nhealth_check_interval_seconds = 1\nhealth_check_addresses = "any"\nhealth_check_timeout_ms = 30000\n';
    coordinator = await startCoordinatorProcess({ config });
    registry = new RegistryClient(coordinator.target);
  });
  afterAll(async () => {
    registry?.[Symbol.dispose]();
    endpoint?.stop();
    await coordinator?.stop();
  });

  it("finds an MCP healthy, unhealthy after failures in a row, and healthy again, and keeps the history", async () => {
    const { mcpId } = await registry.call("registerMcp", {
      name: "checked",
      version: "1.0.0",
      endpoints: { healthCheck: "/health", baseUrl: endpoint.url },
    });
    const watch = registry.watch({ filter: { name: "checked" } });
    const healthIs = (state: HealthState) => watch.until((messages) => messages.at(-1)?.mcps.at(-1)?.healthState === state);
    await healthIs(HealthState.HEALTHY);
    endpoint.answer = failing;
    await healthIs(HealthState.UNHEALTHY);
    endpoint.answer = well;
    await healthIs(HealthState.HEALTHY);
    watch.cancel();
    const { history } = await registry.call("getMcp", { mcpId, includeHistory: true });
    expect(history.map(({ kind }) => kind)).toEqual(["healthy", "unhealthy", "healthy", "registered"]);
    expect(history[1]?.detail).toBe("3 checks failed; the last one answered 503");
    expect((await registry.call("listMcps", { filter: { healthState: HealthState.HEALTHY } })).mcps.map((mcp) => mcp.mcpId)).toEqual([
      mcpId,
    ]);
  });
});
