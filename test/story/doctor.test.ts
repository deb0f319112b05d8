import { expect, test } from "vitest";
import { runCli } from "../support/coordinator.js";
import { freePort } from "../support/server-process.js";

test("doctor tells what is wrong with the way to a coordinator that is not there, and exits with 1", async () => {
  const [web, grpc] = [await freePort(), await freePort()];

  const ended = await runCli(["doctor", "--coordinator-url", `http://127.0.0.1:${web}`, "--grpc-target", `127.0.0.1:${grpc}`, "--json"]);

  expect(ended).toMatchObject({ code: 1 });
  const { checks } = JSON.parse(ended.stdout) as { readonly checks: readonly { readonly name: string; readonly kind: string }[] };
  expect(checks).toContainEqual(expect.objectContaining({ name: "http and key", kind: "failed" }));
  expect(checks).toContainEqual(expect.objectContaining({ name: "grpc", kind: "failed" }));
});
