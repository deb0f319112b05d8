import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import type { Running, ServeDeps } from "../../../src/cli/serve.js";
import { createDeferred } from "../../support/deferred.js";
import { createTestProgram } from "./test-program.js";

/** The demo with a coordinator that starts, or fails to, when the test says so. */
async function startDemo() {
  const started = createDeferred<Running | Error>();
  const calls: string[] = [];
  let dir = "";
  const startCoordinator: ServeDeps["startCoordinator"] = ({ config }) => {
    dir = config.store.dataDir;
    return started.promise.then((outcome) => (outcome instanceof Error ? Promise.reject(outcome) : outcome));
  };
  const cli = createTestProgram({ deps: { startCoordinator } });
  const exit = cli.run("demo");
  const running: Running = {
    grpcPort: 50_051,
    webPort: 8080,
    storePromise: "embedded",
    reconfigure: () => undefined,
    drain: async () => void calls.push("drain"),
    closeNow: async () => void calls.push("closeNow"),
    closed: new Promise(() => undefined),
  };
  await expect.poll(() => existsSync(dir)).toBe(true);
  return { cli, exit, calls, dir, succeed: () => started.resolve(running), fail: (error: Error) => started.resolve(error) };
}

test("Ctrl-C while the demo is starting ends it once it has started, and leaves no directory behind", async () => {
  const demo = await startDemo();
  demo.cli.signal("SIGINT");
  expect(demo.cli.stderr.at(-1)).toContain("once more ends at once");
  demo.succeed();
  expect(await demo.exit).toBe(130);
  expect(demo.calls).toEqual(["closeNow"]);
  expect(existsSync(demo.dir)).toBe(false);
  expect(demo.cli.listenerCount()).toBe(0);
});

test("a second Ctrl-C does not wait for a start that hangs, and leaves no directory behind either", async () => {
  const demo = await startDemo();
  demo.cli.signal("SIGINT");
  demo.cli.signal("SIGINT");
  expect(await demo.exit).toBe(130);
  expect(existsSync(demo.dir)).toBe(false);
  // Nobody waits for it any more, and nobody may be ended by it.
  demo.fail(new Error("too late"));
});

test("a start that fails leaves no directory behind", async () => {
  const demo = await startDemo();
  demo.fail(new Error("no room"));
  expect(await demo.exit).toBe(1);
  expect(existsSync(demo.dir)).toBe(false);
  expect(demo.cli.listenerCount()).toBe(0);
});
