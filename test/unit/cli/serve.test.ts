import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { CliFailure } from "../../../src/cli/exit-code.js";
import { explainStart, type Running, supervise } from "../../../src/cli/serve.js";
import type { Config } from "../../../src/config/schema.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";
import { createDeferred } from "../../support/deferred.js";
import { ManualClock } from "../../support/manual-clock.js";
import { createTestProgram, type Signal } from "./test-program.js";

/** A coordinator whose ends are in the hands of the test. */
function createRunning() {
  const calls: string[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const gate = (name: string): Promise<void> => new Promise((resolve, reject) => ends.set(name, { resolve, reject }));
  const called = (name: string) => (): Promise<void> => {
    calls.push(name);
    return gate(name);
  };
  const running: Running = {
    grpcPort: 50_051,
    webPort: 8080,
    storePromise: "embedded Postgres in ./data",
    reconfigure: (config) => void calls.push(`reconfigure ${config.session.heartbeatIntervalSeconds}`),
    drain: called("drain"),
    closeNow: called("closeNow"),
    closed: gate("closed"),
  };
  return {
    running,
    calls,
    end: (name: string) => ends.get(name)?.resolve(),
    fail: (name: string, error: Error) => ends.get(name)?.reject(error),
  };
}

function createSignals() {
  let listener: ((signal: Signal) => void) | undefined;
  return {
    onSignal: (next: (signal: Signal) => void) => {
      listener = next;
      return () => {
        listener = undefined;
      };
    },
    send: (signal: Signal) => listener?.(signal),
    isHeard: () => listener !== undefined,
  };
}

describe("signals", () => {
  test.each<Signal>(["SIGTERM", "SIGINT"])("%s drains, and the end is 0 once everything is drained", async (signal) => {
    const { running, calls, end } = createRunning();
    const signals = createSignals();
    const ended = supervise(running, signals.onSignal, () => undefined);
    signals.send(signal);
    expect(calls).toEqual(["drain"]);
    end("closed");
    end("drain");
    expect(await ended).toBe("ok");
    expect(signals.isHeard()).toBe(false);
  });

  test.each<[Signal, string]>([
    ["SIGTERM", "ok"],
    ["SIGINT", "interrupted"],
  ])("a second signal, %s, closes at once although the drain hangs, and ends %s", async (second, exit) => {
    const { running, calls, end } = createRunning();
    const signals = createSignals();
    const ended = supervise(running, signals.onSignal, () => undefined);
    signals.send("SIGTERM");
    signals.send(second);
    signals.send("SIGINT");
    expect(calls).toEqual(["drain", "closeNow"]);
    end("drain");
    end("closed");
    end("closeNow");
    expect(await ended).toBe(exit);
  });

  test("a coordinator that ends by itself has failed", async () => {
    const { running, end } = createRunning();
    const ended = supervise(running, createSignals().onSignal, () => undefined);
    end("closed");
    expect(await ended).toBe("failed");
  });

  test("a fault that ends it comes through", async () => {
    const { running, fail } = createRunning();
    const ended = supervise(running, createSignals().onSignal, () => undefined);
    fail("closed", new Error("the store is gone"));
    await expect(ended).rejects.toThrow("the store is gone");
  });
});

describe("SIGHUP", () => {
  test("reads the configuration again and hands it over; a faulty one changes nothing", async () => {
    const { running, calls, end } = createRunning();
    const env: Record<string, string> = {};
    const cli = createTestProgram({ env, deps: { startCoordinator: async () => running } });
    const exit = cli.run("serve", "--log-level", "silent");
    await expect.poll(cli.listenerCount).toBe(2);
    env.MCPC_SESSION__HEARTBEAT_INTERVAL_SECONDS = "7";
    cli.hangUp();
    env.MCPC_SESSION__HEARTBEAT_INTERVAL_SECONDS = "soon";
    cli.hangUp();
    expect(calls).toEqual(["reconfigure 7"]);
    cli.signal("SIGTERM");
    end("drain");
    expect(await exit).toBe(0);
    expect(cli.listenerCount()).toBe(0);
  });

  test("that comes while it starts ends nothing, and counts once it runs", async () => {
    const { running, calls, end } = createRunning();
    const started = createDeferred<Running>();
    const env: Record<string, string> = {};
    const cli = createTestProgram({ env, deps: { startCoordinator: () => started.promise } });
    const exit = cli.run("serve", "--log-level", "silent");
    await expect.poll(cli.listenerCount).toBe(1);
    env.MCPC_SESSION__HEARTBEAT_INTERVAL_SECONDS = "9";
    cli.hangUp();
    cli.hangUp();
    expect(calls).toEqual([]);
    started.resolve(running);
    await expect.poll(cli.listenerCount).toBe(2);
    expect(calls).toEqual(["reconfigure 9"]);
    cli.signal("SIGTERM");
    end("drain");
    expect(await exit).toBe(0);
  });

  test("is not needed when the configuration file changes, unless the watch is off; a faulty file changes nothing", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "mcpc-serve-")), "c.toml");
    const heartbeat = (seconds: number, more = ""): void =>
      writeFileSync(path, `[session]\nheartbeat_interval_seconds = ${seconds}\n${more}`);
    heartbeat(5);
    const clock = new ManualClock(0);
    const watched = createRunning();
    const unwatched = createRunning();
    const env = { MCPC_SERVER__WATCH_CONFIG: "false" };
    const first = createTestProgram({ deps: { clock, startCoordinator: async () => watched.running } });
    const second = createTestProgram({ env, deps: { clock, startCoordinator: async () => unwatched.running } });
    const exits = [first, second].map((cli) => cli.run("serve", "--log-level", "silent", "--config", path));
    await expect.poll(() => [first.listenerCount(), second.listenerCount()]).toEqual([2, 2]);
    const looked = async (): Promise<void> => {
      await clock.advance(limits.configLookMs);
      await expect.poll(() => clock.timerCount).toBe(1);
    };
    for (const seconds of [7, 0, 9]) {
      heartbeat(seconds);
      for (let i = 0; i < 5; i += 1) await looked();
    }
    expect(watched.calls).toEqual(["reconfigure 7", "reconfigure 9"]);
    // A signal reads it at once, and the watch does not read the same again.
    heartbeat(11);
    first.hangUp();
    for (let i = 0; i < 5; i += 1) await looked();
    expect(watched.calls.slice(2)).toEqual(["reconfigure 11"]);
    expect(unwatched.calls).toEqual([]);
    for (const [cli, { end }] of [
      [first, watched],
      [second, unwatched],
    ] as const) {
      cli.signal("SIGTERM");
      end("drain");
    }
    expect(await Promise.all(exits)).toEqual([0, 0]);
    expect(clock.timerCount).toBe(0);
    rmSync(dirname(path), { recursive: true });
  });

  test("is left alone on a terminal, where it means that the terminal is gone", async () => {
    const { running, end } = createRunning();
    const cli = createTestProgram({ isTerminal: true, deps: { startCoordinator: async () => running } });
    const exit = cli.run("serve", "--log-level", "silent");
    await expect.poll(cli.listenerCount).toBe(1);
    cli.signal("SIGTERM");
    end("drain");
    expect(await exit).toBe(0);
  });
});

describe("what serve says", () => {
  async function serve(...argv: readonly string[]): Promise<ReturnType<typeof createTestProgram> & { readonly exit: number }> {
    const { running, end } = createRunning();
    const cli = createTestProgram({ deps: { startCoordinator: async () => running } });
    const exit = cli.run("serve", "--log-level", "silent", ...argv);
    await expect.poll(cli.listenerCount).toBe(2);
    cli.signal("SIGTERM");
    end("drain");
    return { ...cli, exit: await exit };
  }

  test("one line for the store, each address, and the lack of keys", async () => {
    const { stdout, stderr, exit } = await serve();
    expect(exit).toBe(0);
    expect(stdout).toEqual([
      "store   embedded Postgres in ./data\n",
      "grpc    127.0.0.1:50051   (try: grpcurl -plaintext 127.0.0.1:50051 list)\n",
      "web     http://127.0.0.1:8080   (try: curl http://127.0.0.1:8080/health)\n",
      "access  no keys are configured: callers are not asked who they are, and only this machine can reach the ports\n",
    ]);
    expect(stderr).toEqual(["SIGTERM: draining; once more closes at once\n"]);
  });

  test("an open network without keys is called by its name", async () => {
    const { stdout } = await serve("--host", "::", "--insecure-bind");
    expect(stdout[1]).toContain("[::]:50051");
    expect(stdout[3]).toContain("anyone may report for every MCP");
  });

  test("with --json one line for scripts", async () => {
    const { stdout } = await serve("--json");
    expect(stdout.map((line) => JSON.parse(line))).toEqual([
      { grpc: "127.0.0.1:50051", web: "http://127.0.0.1:8080", store: "embedded Postgres in ./data", hasKeys: false },
    ]);
  });

  test("faults in the configuration are all told, and nothing is started", async () => {
    let startCount = 0;
    const startCoordinator = async (): Promise<Running> => {
      startCount += 1;
      return createRunning().running;
    };
    const cli = createTestProgram({ deps: { startCoordinator } });
    expect(await cli.run("serve", "--grpc-port", "70000", "--web-port", "x", "--host", "0.0.0.0")).toBe(2);
    expect(cli.stderr.join("")).toMatch(/3 faults[\s\S]*--grpc-port[\s\S]*--web-port[\s\S]*--insecure-bind/);
    expect(startCount).toBe(0);
  });

  test("an address in use names the address and the flag that helps; a store that is away exits with 5", async () => {
    const config = { server: { grpcPort: 50_051, webPort: 8080 } } as Config; // cut to what is read
    const taken = (address: string): unknown =>
      explainStart(
        config,
        new CoordinatorError("failed_precondition", `${address} is already in use`, { reason: "ADDRESS_IN_USE", metadata: { address } }),
      );
    expect(taken("127.0.0.1:50051")).toMatchObject({ exit: "failed", message: "127.0.0.1:50051 is already in use (--grpc-port, --host)" });
    expect(taken("127.0.0.1:8080")).toMatchObject({ exit: "failed", message: "127.0.0.1:8080 is already in use (--web-port, --host)" });
    expect(explainStart(config, new CoordinatorError("unavailable", "away", { reason: "STORE_UNAVAILABLE" }))).toMatchObject({
      exit: "unavailable",
    });
    expect(explainStart(config, new TypeError("bug"))).not.toBeInstanceOf(CliFailure);
  });
});
