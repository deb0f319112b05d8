import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/config/load.js";
import { settings } from "../../../src/config/settings.js";
import { storeBoundServices } from "../../../src/rpc/health.js";

const textOf = (name: string): string => readFileSync(`deploy/${name}`, "utf8");
const files = ["mcp-coordinator.service", "Dockerfile", "compose.yaml", "kubernetes.yaml", "README.md"] as const;
const texts = new Map(files.map((name) => [name, textOf(name)]));

/** The number behind a name, and its unit where there is one. */
function numberIn(name: (typeof files)[number], pattern: RegExp): number {
  const found = pattern.exec(texts.get(name) ?? "")?.[1];
  if (found === undefined) throw new Error(`${name} has no ${String(pattern)}`);
  return Number(found);
}

const deps = { readSecretFile: () => "postgres://mcp:pw@database/mcp", defaultCoordinatorId: "pod-1" };
const key = `[[auth.keys]]\nid = "search"\nmcp_id = "search-mcp"\nsha256 = "${"ab".repeat(32)}"\n`;

/** The environment that a file gives to the coordinator. */
function envOf(name: (typeof files)[number]): Readonly<Record<string, string>> {
  const text = (texts.get(name) ?? "").replaceAll(/^\s*#.*$/gm, "");
  const assigned = [...text.matchAll(/\b(MCPC_\w+|CONFIG_PATH)(?:=|: )(\S+)/g), ...text.matchAll(/- name: (MCPC_\w+)\n\s+value: (\S+)/g)];
  return Object.fromEntries(assigned.map(([, variable = "", value = ""]) => [variable, value]));
}

describe("what deploy/ starts a coordinator with", () => {
  test("coordinator.toml is refused without a key, for that alone, and taken with one", () => {
    const input = { filePath: "coordinator.toml", env: {}, flags: {} };
    const bare = loadConfig(deps, { ...input, fileText: textOf("coordinator.toml") });
    expect(bare.kind === "faulty" && bare.faults.map(({ message }) => message)).toEqual([
      expect.stringContaining("no keys are configured"),
    ]);
    const keyed = loadConfig(deps, { ...input, fileText: `${textOf("coordinator.toml")}\n${key}` });
    expect(keyed).toMatchObject({ kind: "loaded", warnings: [], config: { server: { host: "0.0.0.0" } } });
  });

  test.each(["mcp-coordinator.service", "Dockerfile", "compose.yaml", "kubernetes.yaml"] as const)(
    "%s sets variables that there are",
    (name) => {
      const env = envOf(name);
      expect(Object.keys(env)).not.toEqual([]);
      const loaded = loadConfig(deps, { env, flags: {}, fileText: `${textOf("coordinator.toml")}\n${key}`, filePath: "coordinator.toml" });
      expect(loaded).toMatchObject({ kind: "loaded", warnings: [] });
    },
  );

  test("every variable and setting that they name in comments and in the text is one of ours", () => {
    const variables = settings.flatMap(({ env, isSecret }) => (env === undefined ? [] : isSecret === true ? [env, `${env}_FILE`] : [env]));
    const paths = new Set(settings.map(({ tomlPath }) => tomlPath));
    const sections = [...new Set([...paths].map((path) => path.split(".")[0]))].join("|");
    for (const text of texts.values()) {
      for (const [variable] of text.matchAll(/\bMCPC_\w+/g)) expect(variables).toContain(variable);
      for (const [path] of text.matchAll(new RegExp(`(?<![\\w./-])(?:${sections})\\.[a-z]+_[a-z_]+`, "g"))) expect(paths).toContain(path);
    }
  });

  test("every flag of serve and of keys generate is in the manual of the command line", () => {
    const manual = readFileSync("docs/cli.md", "utf8");
    for (const text of texts.values()) {
      for (const [line] of text.matchAll(/(?:\bserve\b|keys generate)[^\n]*/g)) {
        for (const [flag] of line.matchAll(/--[a-z][a-z-]+/g)) expect(manual).toContain(`${flag} `);
      }
    }
  });
});

describe("how deploy/ ends and looks at a coordinator", () => {
  const drainSeconds = numberOf("server.drainSeconds");
  /** What a drain takes after its grace: unary calls, and the store. */
  const closingSeconds = 5;

  function numberOf(path: string): number {
    const fallback = settings.find((setting) => setting.path === path)?.fallback;
    if (typeof fallback !== "number") throw new Error(`${path} has no number`);
    return fallback;
  }

  test("nobody kills it while it may still drain", () => {
    const configured = Number(/^drain_seconds = (\d+)/m.exec(textOf("coordinator.toml"))?.[1]);
    expect(configured).toBe(drainSeconds);
    const least = drainSeconds + closingSeconds;
    expect(numberIn("mcp-coordinator.service", /^TimeoutStopSec=(\d+)$/m)).toBeGreaterThanOrEqual(least);
    expect(numberIn("compose.yaml", /stop_grace_period: (\d+)s/)).toBeGreaterThanOrEqual(least);
    const preStopMs = numberIn("kubernetes.yaml", /setTimeout\(\(\) => \{\}, (\d+)\)/);
    expect(numberIn("kubernetes.yaml", /terminationGracePeriodSeconds: (\d+)/)).toBeGreaterThanOrEqual(least + preStopMs / 1_000);
  });

  test("ports and probes are those that it has: readiness follows the store, liveness does not", () => {
    const kubernetes = texts.get("kubernetes.yaml") ?? "";
    const [grpc, web] = [numberOf("server.grpcPort"), numberOf("server.webPort")];
    expect(texts.get("Dockerfile")).toContain(`EXPOSE ${grpc} ${web}\n`);
    expect(texts.get("Dockerfile")).toContain(`http://127.0.0.1:${web}/health`);
    expect(texts.get("compose.yaml")).toContain(`"${grpc}:${grpc}", "${web}:${web}"`);
    expect(kubernetes).toMatch(new RegExp(`livenessProbe:\\n\\s+grpc: \\{ port: ${grpc} \\}`));
    const ready = new RegExp(`readinessProbe:\\n\\s+grpc: \\{ port: ${grpc}, service: (\\S+) \\}`).exec(kubernetes)?.[1];
    expect(storeBoundServices).toContain(ready);
  });

  test("nowhere does it run as root, with more rights than it needs, or with too few files", () => {
    const unit = texts.get("mcp-coordinator.service") ?? "";
    for (const line of ["DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict"])
      expect(unit).toContain(`\n${line}\n`);
    expect(texts.get("Dockerfile")).toMatch(/\nUSER node\n[\s\S]*\nENTRYPOINT /);
    expect(texts.get("kubernetes.yaml")).toMatch(/runAsNonRoot: true[\s\S]*allowPrivilegeEscalation: false[\s\S]*drop: \[ALL\]/);
    // A stream each, and the connections of the web port, of Postgres and of Redis.
    const streams = numberOf("session.maxSessions");
    expect(numberIn("mcp-coordinator.service", /^LimitNOFILE=(\d+)$/m)).toBeGreaterThan(2 * streams);
    expect(numberIn("compose.yaml", /nofile: (\d+)/)).toBeGreaterThan(2 * streams);
  });
});
