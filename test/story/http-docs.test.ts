import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outputOf } from "../support/child-output.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { ApiCaller, keyTable } from "../support/http-api.js";

const key = "sk-test-of-the-page-0123456789";
const page = readFileSync(new URL("../../docs/http.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```sh\n([^`]*)```\n\n```json\n([^`]*)```/g)].map(([, command = "", answer = ""]) => ({
  command,
  answer,
}));
const hasCurl = spawnSync("curl", ["--version"]).status === 0;

let coordinator: RunningCoordinator;
beforeAll(async () => {
  coordinator = await startCoordinatorProcess({ config: keyTable("page", "ocr_workflow_mcp_001", key) });
});
afterAll(() => coordinator?.stop());

/** Members that are never the same twice, by name. */
const fleeting = new Set(["event_id", "stored_at", "timestamp", "request_id", "duration_ms"]);

/** A value with what differs from run to run replaced by its type. */
function lasting(value: unknown, name = ""): unknown {
  if (fleeting.has(name)) return typeof value;
  if (Array.isArray(value)) return value.map((one: unknown) => lasting(one));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([member, one]) => [member, lasting(one, member)]));
}

describe("docs/http.md", () => {
  it.skipIf(!hasCurl).each(examples)("what it shows is what curl hears: example %#", async ({ command, answer }) => {
    const env = { ...process.env, URL: coordinator.webUrl, KEY: key };
    const { code, stdout } = await outputOf(spawn("bash", ["-c", command], { env, stdio: ["ignore", "pipe", "pipe"] }));
    expect(code).toBe(0);
    expect(lasting(JSON.parse(stdout))).toEqual(lasting(JSON.parse(answer)));
  });

  it("has examples, and a line for every path and no other", async () => {
    expect(examples.length).toBe(3);
    const response = await fetch(`${coordinator.webUrl}/api/v2/openapi.json`);
    const { info, paths } = (await response.json()) as { info: object; paths: Record<string, object> }; // as the story of the API holds it to be
    expect(info).toMatchObject({ title: "MCPCoordinator Interaction API", version: "2.0.0" });
    const served = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const listed = [...page.matchAll(/^\| `((?:GET|POST) [^`?]*)[^`]*` \|/gm)].map(([, line]) => line);
    expect(listed.filter((line) => line !== "GET /metrics").sort()).toEqual(served.sort());
    const api = await ApiCaller.open(coordinator.webUrl);
    for (const line of served) {
      const [method = "", path = ""] = line.split(" ");
      const { status } = path.endsWith("openapi.json") ? response : await api.ask(path, { method, key });
      expect([200, 400, 415]).toContain(status);
    }
  });
});
