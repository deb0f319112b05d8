import { describe, expect, test } from "vitest";
import { type ConfigInput, type LoadedConfig, loadConfig } from "../../../src/config/load.js";
import { describeRemark } from "../../../src/config/place.js";
import { configSchema } from "../../../src/config/schema.js";
import { settings } from "../../../src/config/settings.js";
import { weightRuleIds } from "../../../src/smart-router/rules.js";
import { routerDefaults } from "../../../src/smart-router/settings.js";
import { signalDefaults } from "../../../src/smart-router/signals/settings.js";

const secretFiles: Readonly<Record<string, string>> = { "/run/secrets/url": "postgres://ann:pa55word@db/mcp\n" };

function load(input: Partial<ConfigInput>): LoadedConfig {
  const deps = { readSecretFile: (path: string) => secretFiles[path], defaultCoordinatorId: "host-1-abcdef" };
  return loadConfig(deps, { filePath: "c.toml", env: {}, flags: {}, ...input });
}

function loaded(input: Partial<ConfigInput>): LoadedConfig & { kind: "loaded" } {
  const result = load(input);
  if (result.kind === "faulty") throw new Error(result.faults.map(describeRemark).join("\n"));
  return result;
}

function faults(input: Partial<ConfigInput>): readonly string[] {
  const result = load(input);
  return result.kind === "faulty" ? result.faults.map(describeRemark) : [];
}

describe("layers", () => {
  test("without anything the defaults hold, and say so", () => {
    const { config, sources, warnings } = loaded({});
    expect(config).toEqual({
      ...configSchema.parse(emptySections()),
      server: { ...configSchema.parse(emptySections()).server, coordinatorId: "host-1-abcdef" },
    });
    expect(config.server).toMatchObject({ host: "127.0.0.1", grpcPort: 50_051, webPort: 8080, drainSeconds: 20 });
    expect(new Set(Object.values(sources).map((source) => source.kind))).toEqual(new Set(["default"]));
    expect(warnings).toEqual([]);
  });

  test("the file beats defaults, the environment the file, a flag the environment, and each value knows where it came from", () => {
    const { config, sources } = loaded({
      fileText: "[server]\nhost = '127.0.0.2'\ngrpc_port = 1\nweb_port = 1001\ndrain_seconds = 5\n",
      env: { MCPC_SERVER__GRPC_PORT: "2", MCPC_SERVER__WEB_PORT: "1002" },
      flags: { "--grpc-port": "3" },
    });
    expect(config.server).toMatchObject({ host: "127.0.0.2", grpcPort: 3, webPort: 1002, drainSeconds: 5 });
    expect(sources["server.grpcPort"]).toEqual({ kind: "flag", name: "--grpc-port" });
    expect(sources["server.webPort"]).toEqual({ kind: "env", name: "MCPC_SERVER__WEB_PORT" });
    expect(sources["server.drainSeconds"]).toEqual({ kind: "file", file: "c.toml", line: 5, key: "server.drain_seconds" });
    expect(sources["store.dataDir"]).toEqual({ kind: "default" });
  });

  test("DATABASE_URL, its own variable and its file all give the database; the more exact name wins", () => {
    expect(loaded({ env: { DATABASE_URL: "postgres://db/a" } }).config.store.databaseUrl).toBe("postgres://db/a");
    expect(
      loaded({ env: { DATABASE_URL: "postgres://db/a", MCPC_STORE__DATABASE_URL: "postgresql://db/b" } }).config.store.databaseUrl,
    ).toBe("postgresql://db/b");
    expect(loaded({ env: { DATABASE_URL_FILE: "/run/secrets/url" } }).config.store.databaseUrl).toBe("postgres://ann:pa55word@db/mcp");
  });

  test("an empty variable counts as not set", () => {
    expect(loaded({ env: { DATABASE_URL: "", MCPC_SERVER__GRPC_PORT: "" } }).config.store.databaseUrl).toBeUndefined();
  });

  test("text becomes numbers and booleans where the setting is one, and stays text where it looks like one", () => {
    const env = { MCPC_STORE__MAX_RECORDS: "2_000_000", MCPC_EXTENSIONS__ROUTING: "0", MCPC_SERVER__COORDINATOR_ID: "17" };
    const { config } = loaded({ env });
    expect([config.store.maxRecords, config.extensions.routing, config.server.coordinatorId]).toEqual([2_000_000, false, "17"]);
  });

  test.each(settings.filter(({ env }) => env !== undefined))(
    "$path can be given in the file, in the environment and shows its place",
    (setting) => {
      const values = { number: setting.fallback, boolean: true, text: sampleText(setting.path), list: [], table: {} };
      const value = values[setting.kind];
      const [table, key] = setting.tomlPath.split(".");
      const fromFile = load({ fileText: `[${table}]\n${key} = ${JSON.stringify(value)}` });
      const fromEnv = load({ env: { [setting.env ?? ""]: String(value) } });
      expect([fromFile.kind, fromEnv.kind]).toEqual(["loaded", "loaded"]);
      if (fromFile.kind === "loaded" && fromEnv.kind === "loaded") {
        expect(fromFile.config).toEqual(fromEnv.config);
        expect(fromFile.sources[setting.path]).toMatchObject({ kind: "file", line: 2 });
      }
    },
  );
});

describe("faults", () => {
  test("three faults in a file are all reported, each with its line", () => {
    const fileText = '[server]\ngrpc_port = 70000\nweb_prot = 8080\n\n[store]\nretention_days = "thirty"\n';
    expect(faults({ fileText })).toEqual([
      "c.toml:2 server.grpc_port: must be a whole number from 0 to 65535, is 70000",
      "c.toml:3 server.web_prot: no such setting; did you mean web_port?",
      'c.toml:6 store.retention_days: must be a whole number from 1 to 3650, is "thirty"',
    ]);
  });

  test("faults of the file, the environment and the flags come together, also in values that another layer replaces", () => {
    const all = faults({
      fileText: "[server]\nhost = 5",
      env: { MCPC_SERVER__GRPC_PORT: "abc" },
      flags: { "--grpc-port": "50051", "--log-level": "loud" },
    });
    expect(all).toEqual([
      "c.toml:2 server.host: must be a host name or IP address, is 5",
      'environment MCPC_SERVER__GRPC_PORT: must be a whole number from 0 to 65535, is "abc"',
      'flag --log-level: must be one of trace, debug, info, warn, error, fatal, silent, is "loud"',
    ]);
  });

  test.each([
    ["[server]\ngrpcPort = 1", "c.toml:2 server.grpcPort: no such setting; did you mean grpc_port?"],
    ["grpc_port = 1", "c.toml:1 grpc_port: no such setting; did you mean server.grpc_port?"],
    ["[logging]\ngrpc_port = 1", "c.toml:2 logging.grpc_port: no such setting; did you mean server.grpc_port?"],
    ["[sevrer]\nhost = 'x'", "c.toml:1 sevrer: no such table; did you mean server?"],
    ["[kubernetes]\nx = 1", "c.toml:1 kubernetes: no such table"],
    ["server = 3", "c.toml:1 server: must be a table: write [server]"],
    ["[server.tls]\nx = 1", "c.toml:1 server.tls: no such setting"],
    ["[server]\nhost = { a = 1 }", "c.toml:2 server.host: must be a host name or IP address, is a table"],
    ["[server]\ngrpc_port = 1.5", "c.toml:2 server.grpc_port: must be a whole number from 0 to 65535, is 1.5"],
    ["[server]\ngrpc_port = -1", "c.toml:2 server.grpc_port: must be a whole number from 0 to 65535, is -1"],
    ["[server]\nallow_insecure_bind = 'yes'", 'c.toml:2 server.allow_insecure_bind: must be true or false, is "yes"'],
    ["[routing]\nerror_utilization_penalty = nan", "c.toml:2 routing.error_utilization_penalty: must be a number from 0 to 100, is NaN"],
  ])("%j is refused", (fileText, fault) => {
    expect(faults({ fileText })).toEqual([fault]);
  });

  test.each(["Zürich", "a\u0007b", "協調", "x".repeat(257), ""])(
    "a coordinator may not be called %j: its name travels in headers",
    (id) => {
      expect(faults({ fileText: `[server]\ncoordinator_id = ${JSON.stringify(id)}` })).toEqual([
        expect.stringMatching(/^c\.toml:2 server\.coordinator_id: must be a name of 1 to 256 printable ASCII characters/),
      ]);
    },
  );

  test.each([
    ["DATABASE_URL", "postgres://ann:s3cret%zz@db/mcp"],
    ["DATABASE_URL", "postgres://ann:s3cret#1@db/mcp"],
    ["DATABASE_URL", "postgres://ann:s3cret/1@db/mcp"],
    ["DATABASE_URL", "postgres://ann:s3cret@db:notaport/mcp"],
    ["DATABASE_URL", "postgres://ann:s3cret@db,other:99999/mcp"],
    ["MCPC_REDIS__URL", "redis://:s3cret%zz@redis"],
    ["MCPC_REDIS__URL", "redis://:s3cret#1@redis"],
    ["MCPC_REDIS__URL", "redis://:s3cret@redis:99999"],
  ])("%s with a URL that no driver can read is a fault that shows no password: %s", (name, url) => {
    const [fault = "", ...others] = faults({ env: { [name]: url } });
    expect(others).toEqual([]);
    expect(fault).toMatch(/^environment \S+: must look like .* with @ \/ \? # and % in user and password written as/);
    expect(fault).not.toContain("s3cret");
  });

  test.each([
    "postgres://ann:p%40ss%25@db:5433,other/mcp?sslmode=require",
    "postgresql:///mcp",
    "postgres://[::1]:5432/mcp",
    "postgres://ann@%2Fvar%2Frun%2Fpostgresql/mcp",
  ])("%s is a database", (url) => {
    expect(faults({ env: { DATABASE_URL: url } })).toEqual([]);
  });

  test("a key that would reach into objects is refused like a syntax error", () => {
    expect(faults({ fileText: "[server]\n__proto__ = 1" })).toEqual([expect.stringMatching(/^c\.toml:2 .*not TOML/)]);
  });

  test("null is explained at its place, and hides no other fault", () => {
    const fileText = "[store]\ndatabase_url = null # later\nretention_days = 0\n";
    expect(faults({ fileText })).toEqual([
      "c.toml:2 store.database_url: TOML has no null; leave the key out to mean none",
      "c.toml:3 store.retention_days: must be a whole number from 1 to 3650, is 0",
    ]);
  });

  test("a syntax error has its line and column, shows nothing of the file, and does not hide faults of other layers", () => {
    const fileText = '[security]\npseudonym_key = "s3cr3t-and-unfinished\n';
    expect(faults({ fileText, flags: { "--web-port": "x" } })).toEqual([
      expect.stringMatching(/^c\.toml:2 column 39: not TOML: /),
      'flag --web-port: must be a whole number from 0 to 65535, is "x"',
    ]);
    expect(faults({ fileText }).join()).not.toContain("s3cr3t");
  });

  test("the horizon may not exceed the retention, whichever layer said so", () => {
    expect(faults({ env: { MCPC_STORE__RETENTION_DAYS: "3" } })).toEqual([
      expect.stringMatching(/^environment MCPC_STORE__RETENTION_DAYS: dedupe_horizon_days \(7\) must not exceed retention_days \(3\)/),
    ]);
    expect(faults({ env: { MCPC_STORE__RETENTION_DAYS: "7" } })).toEqual([]);
  });

  test("one port cannot serve both, but 0 twice means two free ports", () => {
    expect(faults({ flags: { "--web-port": "50051" } })).toEqual([
      expect.stringMatching(/^flag --web-port: grpc_port and web_port are both 50051/),
    ]);
    expect(faults({ flags: { "--web-port": "0", "--grpc-port": "0" } })).toEqual([]);
  });

  test.each(["0.0.0.0", "::", "192.168.1.4", "coordinator.example", "1270.0.0.1", "127.0.0.1.example"])(
    "listening on %s without keys is refused unless somebody insists",
    (host) => {
      expect(faults({ flags: { "--host": host } })).toEqual([
        expect.stringMatching(/can be reached from other machines and no keys are configured.*--insecure-bind/),
      ]);
      expect(loaded({ flags: { "--host": host, "--insecure-bind": true } }).config.server.host).toBe(host);
    },
  );

  test("an address in brackets, as URLs have it, is the address", () => {
    expect(loaded({ flags: { "--host": "[::1]" } }).config.server.host).toBe("::1");
  });

  test.each(["127.0.0.1", "127.8.9.1", "::1", "localhost"])("listening on %s needs no keys", (host) => {
    expect(faults({ flags: { "--host": host } })).toEqual([]);
  });

  test("an unknown variable of ours is a fault with a suggestion; one that an orchestrator made is left alone", () => {
    expect(faults({ env: { MCPC_SERVER__GRPC_PROT: "1" } })).toEqual([
      "environment MCPC_SERVER__GRPC_PROT: no such setting; did you mean MCPC_SERVER__GRPC_PORT?",
    ]);
    expect(loaded({ env: { MCPC_PORT_50051_TCP_ADDR: "10.0.0.1", HOME: "/" } }).warnings).toEqual([]);
    const { warnings } = loaded({ env: { MCPC_SERVER_GRPC_PORT: "1" } });
    expect(warnings.map(describeRemark)).toEqual([
      "environment MCPC_SERVER_GRPC_PORT: no such setting; did you mean MCPC_SERVER__GRPC_PORT?",
    ]);
  });

  test.each([
    ["MCPC_SERVR__PORT", "MCPC_SERVER__GRPC_PORT or MCPC_SERVER__WEB_PORT"],
    ["MCPC_STORE__RETENTION", "MCPC_STORE__RETENTION_DAYS"],
    ["MCPC_STORE__DATABASE_ULR", "MCPC_STORE__DATABASE_URL"],
    ["MCPC_LOG__LEVEL", "MCPC_LOGGING__LEVEL"],
  ])("%s was meant to be %s", (name, meant) => {
    expect(faults({ env: { [name]: "1" } })).toEqual([`environment ${name}: no such setting; did you mean ${meant}?`]);
  });

  test("what Kubernetes makes of a service that is called mcpc is no setting of ours, and no warning", () => {
    const env = {
      MCPC_SERVICE_HOST: "10.0.0.1",
      MCPC_SERVICE_PORT_GRPC: "50051",
      MCPC_PORT: "tcp://10.0.0.1:80",
      MCPC_PORT_80_TCP_PROTO: "tcp",
    };
    expect(loaded({ env }).warnings).toEqual([]);
  });

  test("a secret given both as a value and as a file, or as a file that cannot be read, is refused", () => {
    expect(faults({ env: { DATABASE_URL: "postgres://a/b", DATABASE_URL_FILE: "/run/secrets/url" } })).toEqual([
      "environment DATABASE_URL: and DATABASE_URL_FILE are both set; unset one",
    ]);
    expect(faults({ env: { MCPC_SECURITY__PSEUDONYM_KEY_FILE: "/nowhere" } })).toEqual([
      "environment MCPC_SECURITY__PSEUDONYM_KEY_FILE: the file /nowhere cannot be read",
    ]);
  });

  test("a setting given under two names is refused", () => {
    expect(faults({ fileText: "max_interaction_records = 5000\n[store]\nmax_records = 6000\n" })).toEqual([
      "c.toml:3 store.max_records: means the same setting as max_interaction_records in line 1; keep one",
    ]);
  });
});

describe("secrets", () => {
  test("no fault, warning or source shows a secret", () => {
    const secrets = ["mysql://ann:h1dden@db/x", "h1dden-too-short", "sk-h1dden-plain-key-000000"];
    const results = [
      load({ env: { DATABASE_URL: secrets[0] } }),
      load({ fileText: `[security]\npseudonym_key = "${secrets[1]}"` }),
      load({ flags: { "--database-url": "postgres://ann:h1dden@db/x" } }),
      load({ fileText: `[[auth.keys]]\nid = "a"\nmcp_id = "b"\nkey = "${secrets[2]}"` }),
      load({ fileText: `[static_api_keys]\n"${secrets[2]}" = { mcp_id = 5, expires_at = null, extra = 1 }` }),
      load({ fileText: `[static_api_keys]\n"${secrets[2]}" = 5` }),
    ];
    for (const result of results) {
      const { config: _, ...shown } = result.kind === "loaded" ? result : { ...result, config: undefined };
      expect(JSON.stringify(shown)).not.toContain("h1dden");
    }
  });

  test("a password in a flag is accepted with a warning", () => {
    const { warnings } = loaded({ flags: { "--database-url": "postgres://ann:pw@db/x" } });
    expect(warnings.map(describeRemark)).toEqual([
      expect.stringMatching(/^flag --database-url: holds a password.*MCPC_STORE__DATABASE_URL/),
    ]);
    expect(loaded({ flags: { "--database-url": "postgres://db/x" } }).warnings).toEqual([]);
  });

  test("64 hex digits are the pseudonym key, another long text is stretched into one", () => {
    const hex = "0123456789abcdef".repeat(4);
    expect(loaded({ env: { MCPC_SECURITY__PSEUDONYM_KEY: hex.toUpperCase() } }).config.security.pseudonymKey).toBe(hex);
    const stretched = loaded({ env: { MCPC_SECURITY__PSEUDONYM_KEY: "correct horse battery staple, twice over" } }).config.security
      .pseudonymKey;
    expect(stretched).toMatch(/^[0-9a-f]{64}$/);
    expect(stretched).toBe(
      loaded({ env: { MCPC_SECURITY__PSEUDONYM_KEY: "correct horse battery staple, twice over" } }).config.security.pseudonymKey,
    );
  });

  test.each(["short", "your-master-secret-key"])("the secret %j is too short", (secret) => {
    expect(faults({ env: { MCPC_SECURITY__PSEUDONYM_KEY: secret } })).toHaveLength(1);
  });

  test.each([
    "your-very-secure-master-secret-key",
    "changeme-changeme-changeme-changeme",
    "a".repeat(64),
    "please change_me before production!!",
  ])("the secret %j is refused, but for trying out", (secret) => {
    const fileText = `[security]\nmaster_secret = "${secret}"`;
    expect(faults({ fileText })).toEqual([expect.stringMatching(/^c\.toml:2 security\.master_secret: is a sample or easily guessed/)]);
    expect(faults({ fileText, flags: { "--allow-sample-secrets": true } })).toEqual([]);
  });
});

test("the router's own defaults are those of the configuration", () => {
  const { weightPolicy, objectives, ...numbers } = configSchema.parse(emptySections()).routing;
  expect(routerDefaults).toMatchObject(numbers);
  expect(weightPolicy).toBe(weightRuleIds[0]);
  expect(new Map(Object.entries(objectives))).toEqual(signalDefaults.objectiveMs);
});

function emptySections(): Record<string, object> {
  return Object.fromEntries(Object.keys(configSchema.shape).map((section) => [section, {}]));
}

function sampleText(path: string): string {
  const samples: Readonly<Record<string, string>> = {
    "store.databaseUrl": "postgres://db/x",
    "redis.url": "redis://cache/1",
    "redis.stream": "reports",
    "security.pseudonymKey": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "logging.level": "DEBUG",
    "routing.weightPolicy": "a58-wrr/1",
    "server.host": "127.0.0.9",
    "registry.acceptedVersions": "^1.2.0",
    "registry.healthCheckAddresses": "public",
  };
  return samples[path] ?? "some text";
}
