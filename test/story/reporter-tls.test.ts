import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { examineReporter } from "../../src/cli/reporter-checks.js";
import { createReporter, type Reporter, type ReporterOptions, readMcpConfig } from "../../src/client/index.js";
import type { TlsOptions } from "../../src/client/tls.js";
import { systemClock } from "../../src/platform/clock.js";
import { type Authority, createAuthority, opensslSkipReason, pemOf } from "../support/certificates.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { freshName } from "../support/new-event.js";
import { startTlsProxy, type TlsProxy, type TlsProxyOptions } from "../support/tls-proxy.js";

const skip = opensslSkipReason();

let coordinator: RunningCoordinator;
let house: Authority;
let stranger: Authority;
const reporters: Reporter[] = [];
const ends: (() => unknown)[] = [];

/** Proxies in front of both ports of the coordinator. */
type Front = { readonly grpc: TlsProxy; readonly web: TlsProxy };

describe.skipIf(skip !== undefined)(`a coordinator behind a proxy with TLS${skip === undefined ? "" : ` (${skip})`}`, () => {
  beforeAll(async () => {
    if (skip !== undefined) return;
    house = createAuthority("authority of the house");
    stranger = createAuthority("somebody else");
    coordinator = await startCoordinatorProcess();
  });
  afterEach(async () => {
    for (const reporter of reporters.splice(0)) await reporter.close();
    for (const end of ends.splice(0)) await end();
  });
  afterAll(async () => {
    await coordinator?.stop();
    house?.remove();
    stranger?.remove();
  });

  const localNames = ["DNS:localhost", "IP:127.0.0.1"];

  async function startFront(more: Partial<TlsProxyOptions> = {}): Promise<Front> {
    const certificate = more.certificate ?? house.issue(localNames);
    const before = async (address: string, protocol: TlsProxyOptions["protocol"]): Promise<TlsProxy> => {
      const proxy = await startTlsProxy(Number(address.split(":").at(-1)), { ...more, certificate, protocol });
      ends.push(() => proxy[Symbol.asyncDispose]());
      return proxy;
    };
    return { grpc: await before(coordinator.target, "h2"), web: await before(new URL(coordinator.webUrl).host, "http/1.1") };
  }

  function scratch(): string {
    const folder = mkdtempSync(join(tmpdir(), "mcpc-tls-story-"));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  function open(front: Front, options: Partial<ReporterOptions>): Reporter {
    const reporter = createReporter({
      ...{ mcpId: freshName("tls"), coordinatorUrl: `https://localhost:${front.web.port}`, grpcTarget: `localhost:${front.grpc.port}` },
      ...{ localCachePath: join(scratch(), "spool"), retryDelay: 0.1, closeMaxMs: 0, ...options },
    });
    reporters.push(reporter);
    return reporter;
  }

  /** What the one transport is like once it is known to be down. */
  async function downOf(front: Front, options: Partial<ReporterOptions>): Promise<unknown> {
    const reporter = open(front, options);
    reporter.reportStart("kept");
    await expect.poll(() => reporter.state.transports[0]?.state, { timeout: 60_000, interval: 20 }).toBe("down");
    await reporter.durable();
    expect(reporter.state).toMatchObject({ spool: { events: 1 }, counters: { stored: 0, setAside: 0 } });
    return reporter.state.transports[0];
  }

  test.each(["grpc", "http"] as const)(
    "reports arrive over %s, with TLS 1.3, an authority of one's own, and the proxy's name",
    async (transport) => {
      const front = await startFront();
      const reporter = open(front, { transport, tlsCa: house.ca });
      for (let index = 0; index < 100; index += 1) expect(reporter.reportStart(`i-${index}`)).toBe(true);
      expect(await reporter.flush(60_000)).toBe(true);
      expect(reporter.state.counters).toMatchObject({ stored: 100 });
      const { handshakes } = transport === "grpc" ? front.grpc : front.web;
      expect(new Set(handshakes.map(({ version, serverName }) => `${version} ${serverName}`))).toEqual(new Set(["TLSv1.3 localhost"]));
    },
  );

  test("a certificate for another name is taken when that name is configured, and mcp_config.toml says the same in its words", async () => {
    const front = await startFront({ certificate: house.issue(["DNS:mcp.example"]) });
    const [grpc, http] = await Promise.all(
      (["grpc", "http"] as const).map((transport) => downOf(front, { transport, tlsCa: pemOf(house.ca) })),
    );
    expect(grpc).toMatchObject({ tls: "CERTIFICATE_NAME", why: expect.stringContaining("tlsServerName") });
    expect(http).toMatchObject({ tls: "CERTIFICATE_NAME", why: expect.stringContaining("tlsServerName") });
    const file = join(scratch(), "mcp_config.toml");
    const lines = [
      ...["[mcp]", 'mcp_id = "named"', "[interaction_logging]", "enable_interaction_logging = true"],
      ...[`coordinator_url = "https://localhost:${front.web.port}"`, `grpc_target = "localhost:${front.grpc.port}"`],
      ...[`tls_ca = "${house.ca}"`, 'tls_server_name = "mcp.example"', 'tls_min_version = "TLSv1.3"'],
    ];
    writeFileSync(file, lines.join("\n"));
    for (const transport of ["grpc", "http"] as const) {
      const reporter = open(front, { ...readMcpConfig(file), transport });
      reporter.reportStart("i");
      expect(await reporter.flush(60_000)).toBe(true);
    }
    expect([front.grpc, front.web].map(({ handshakes }) => handshakes.at(-1)?.serverName)).toEqual(["mcp.example", "mcp.example"]);
  });

  test.each(["grpc", "http"] as const)(
    "over %s each fault of TLS has its name and its next step, and what was reported is kept",
    async (transport) => {
      const trusting = { transport, tlsCa: house.ca };
      const front = await startFront();
      expect(await downOf(front, { transport, tlsCa: stranger.ca })).toMatchObject({
        ...{ tls: "CERTIFICATE_UNTRUSTED", why: expect.stringContaining("give tlsCa") },
      });
      expect(await downOf(front, { transport })).toMatchObject({ tls: "CERTIFICATE_UNTRUSTED" });
      const expired = await startFront({ certificate: house.issue(localNames, -1) });
      expect(await downOf(expired, trusting)).toMatchObject({ tls: "CERTIFICATE_EXPIRED", why: expect.stringContaining("renew it") });
      const old = await startFront({ maxVersion: "TLSv1.2" });
      expect(await downOf(old, trusting)).toMatchObject({ tls: "TLS_VERSION", why: expect.stringContaining("tlsMinVersion") });
      const plain: Front = {
        grpc: { ...front.grpc, port: Number(coordinator.target.split(":")[1]) },
        web: { ...front.web, port: Number(new URL(coordinator.webUrl).port) },
      };
      expect(await downOf(plain, trusting)).toMatchObject({ tls: "NOT_TLS", why: expect.stringContaining("does not speak TLS") });
      const lenient = open(old, { ...trusting, tlsMinVersion: "TLSv1.2" });
      lenient.reportStart("i");
      expect(await lenient.flush(60_000)).toBe(true);
    },
  );

  test.each(["grpc", "http"] as const)(
    "over %s a proxy that asks for a certificate gets it, and without one the fault is named",
    async (transport) => {
      const front = await startFront({ clientCa: house.ca });
      const own = house.issue(["DNS:mcp-1"]);
      expect(await downOf(front, { transport, tlsCa: house.ca })).toMatchObject({
        ...{ tls: "CLIENT_CERTIFICATE", why: expect.stringContaining("give tlsCert and tlsKey") },
      });
      const reporter = open(front, { transport, tlsCa: house.ca, tlsCert: pemOf(own.cert), tlsKey: own.key });
      reporter.reportStart("i");
      expect(await reporter.flush(60_000)).toBe(true);
    },
  );

  test("files that cannot be used are named, and what was reported stays in the spool", async () => {
    const front = await startFront();
    const wrong: readonly (readonly [TlsOptions, string])[] = [
      [{ tlsCa: "/no/such/file" }, "tlsCa names a file that cannot be read"],
      [{ tlsCa: house.issue(localNames).key }, "tlsCa holds no certificate in PEM"],
      [{ tlsCert: house.issue(localNames).cert, tlsKey: house.issue(localNames).key }, "tlsKey cannot be used"],
      [{ tlsCert: house.issue(localNames).cert }, "tlsKey must be given too"],
    ];
    for (const [options, said] of wrong) {
      // The cast: undefined members are those of the type only.
      const transport = await downOf(front, { transport: "grpc", ...(options as Partial<ReporterOptions>) });
      expect(transport).toMatchObject({ why: expect.stringContaining(said) });
    }
  });

  test("a command reaches the coordinator with --ca-file or https://, and without trust says what to do", async () => {
    const front = await startFront();
    const address = `localhost:${front.grpc.port}`;
    const trusted = await runCli(["routes", "--target", address, "--ca-file", house.ca, "--json"]);
    expect([trusted.code, trusted.stderr]).toEqual([0, ""]);
    const untrusted = await runCli(["routes", "--target", `https://${address}`]);
    expect([untrusted.code, untrusted.stderr]).toEqual([5, expect.stringContaining("give tlsCa (--ca-file)")]);
    const unreadable = await runCli(["routes", "--target", address, "--ca-file", "/no/such/file"]);
    expect([unreadable.code, unreadable.stderr]).toEqual([2, expect.stringContaining("--ca-file names a file that cannot be read")]);
  });

  test("doctor passes with the authority, and names what is wrong without it", async () => {
    const front = await startFront();
    const examine = async (tls: TlsOptions) => {
      const addresses = { coordinatorUrl: `https://localhost:${front.web.port}`, grpcTarget: `localhost:${front.grpc.port}` };
      const checks = await examineReporter(systemClock, {
        mcpConfig: undefined,
        mcpId: undefined,
        key: undefined,
        holdMs: 0,
        ...addresses,
        tls,
      });
      return new Map(checks.map((check) => [check.name, check]));
    };
    const trusting = await examine({ tlsCa: house.ca });
    expect([...trusting.values()].filter(({ kind }) => kind === "failed")).toEqual([]);
    expect(["tls", "http and key", "version", "grpc"].map((name) => trusting.get(name)?.kind)).toEqual(Array(4).fill("passed"));
    const untrusting = await examine({});
    expect(untrusting.get("tls")).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("--ca-file") });
    expect(untrusting.get("grpc")).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("--ca-file") });
    expect((await examine({ tlsCa: "/no/such/file" })).get("tls")).toMatchObject({
      ...{ kind: "failed", finding: expect.stringContaining("cannot be read") },
    });
  });
});
