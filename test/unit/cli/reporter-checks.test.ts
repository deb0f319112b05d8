import { describe, expect, test } from "vitest";
import { checklists, describeChecklists } from "../../../src/cli/checklist.js";
import { judgeChoice, judgeSkew, judgeTls } from "../../../src/cli/reporter-checks.js";
import { judgeVersion, readServedVersions } from "../../../src/cli/version-check.js";
import { coordinatorVersion } from "../../../src/config/version.js";

const at = Date.UTC(2026, 10, 21, 12);
const dateOf = (ms: number): string => new Date(ms).toUTCString();

test("clocks that agree to the second pass, and those that do not are named with the direction", () => {
  expect(judgeSkew(dateOf(at), at + 300, at + 900)).toMatchObject({ kind: "passed" });
  expect(judgeSkew(dateOf(at + 120_000), at, at + 10)).toMatchObject({ kind: "failed", finding: expect.stringContaining("120 s behind") });
  expect(judgeSkew(dateOf(at - 120_000), at, at + 10)).toMatchObject({
    kind: "failed",
    finding: expect.stringContaining("119 s ahead of"),
  });
  expect(judgeSkew(null, at, at)).toMatchObject({ kind: "skipped" });
});

describe("the version of the coordinator", () => {
  const same = { coordinator: coordinatorVersion, api: ["v2"], contract: "mcp.coordinator.v1" };

  test("is compatible when API, contract and major version are the client's", () => {
    expect(judgeVersion(200, same)).toMatchObject({ kind: "passed", finding: expect.stringMatching(/: compatible$/) });
    expect(judgeVersion(200, { coordinator: coordinatorVersion, api: undefined, contract: undefined }).kind).toBe("passed");
    expect(judgeVersion(200, { ...same, api: ["v2", "v3"] }).kind).toBe("passed");
  });

  test("asks for an upgrade of whoever is behind", () => {
    const newer = judgeVersion(200, { ...same, coordinator: "99.0.0" });
    expect(newer).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("upgrade this client") });
    const newerApi = judgeVersion(200, { coordinator: "99.0.0", api: ["v3"], contract: "mcp.coordinator.v2" });
    expect(newerApi).toMatchObject({ kind: "failed", finding: expect.stringContaining("API v3 and not v2") });
    expect(newerApi).toMatchObject({ nextStep: expect.stringContaining("upgrade this client") });
    const otherContract = judgeVersion(200, { ...same, contract: "mcp.coordinator.v2" });
    expect(otherContract).toMatchObject({ kind: "failed", finding: expect.stringContaining("mcp.coordinator.v2 and not") });
  });

  test("asks for a coordinator with API v2 when nothing says a version", () => {
    for (const check of [
      judgeVersion(404, undefined),
      judgeVersion(200, undefined),
      judgeVersion(200, { ...same, coordinator: undefined }),
    ])
      expect(check).toMatchObject({ kind: "failed", nextStep: expect.stringContaining("upgrade the coordinator") });
  });

  test("is read from the answer as it is documented, and from nonsense not at all", () => {
    const read = (text: string) => readServedVersions(Buffer.from(text));
    const data = { coordinator_version: "1.2.3", api_versions: ["v2"], contract: "mcp.coordinator.v1" };
    const found = { coordinator: "1.2.3", api: ["v2"], contract: "mcp.coordinator.v1" };
    expect(read(JSON.stringify({ success: true, data, coordinator_version: "1.2.3" }))).toEqual(found);
    expect(read(JSON.stringify(data))).toEqual(found);
    expect(read('{"data": {"coordinator_version": 7, "api_versions": "v2"}}')).toEqual({
      ...{ coordinator: undefined, api: undefined, contract: undefined },
    });
    for (const text of ["", "<html>", "null", "[]x", '"v2"', "7"]) expect(read(text)).toBeUndefined();
  });
});

test("plain text is said to be plain text, and a fault of TLS is named with its next step", () => {
  const up = { state: "up", why: "" } as const;
  expect(judgeTls("http://a", up)).toMatchObject({ kind: "skipped", finding: expect.stringContaining("plain text") });
  expect(judgeTls("https://a", up)).toMatchObject({ kind: "passed" });
  const untrusted = { state: "down", why: "signed by nobody; give tlsCa", tls: "CERTIFICATE_UNTRUSTED" } as const;
  expect(judgeTls("https://a", untrusted)).toMatchObject({ kind: "failed", finding: "signed by nobody", nextStep: "give tlsCa" });
});

test("the check lists of the guide are printed with a box before each item", () => {
  const boxes = describeChecklists().match(/\[ \]/g) ?? [];
  expect(boxes).toHaveLength(checklists.reduce((sum, { items }) => sum + items.length, 0));
  expect(checklists.map(({ items }) => items.length)).toEqual([4, 4, 4]);
});

test("the transport that would be used is the best one that is up, or the configured one and no other", () => {
  const passed = (name: string) => ({ name, kind: "passed", finding: "" }) as const;
  const failed = (name: string) => ({ name, kind: "failed", finding: "", nextStep: "" }) as const;
  const outs = ["grpc", "redis", "http"] as const;
  const findings = [
    judgeChoice({ transport: "auto", outs }, [passed("grpc"), passed("http and key")]),
    judgeChoice({ transport: "auto", outs }, [failed("grpc"), failed("redis"), passed("http and key")]),
    judgeChoice({ transport: "auto", outs }, [failed("grpc"), failed("tls")]),
    judgeChoice({ transport: "http", outs: ["http"] }, [passed("grpc"), passed("http and key")]),
    judgeChoice({ transport: "http", outs: ["http"] }, [passed("grpc"), failed("http and key")]),
  ].map(({ kind, finding }) => `${kind}: ${finding}`);
  expect(findings).toEqual([
    "passed: auto would use grpc: the best of grpc, redis, http",
    "passed: auto would use http: grpc and redis would be better, and are not up",
    "failed: none of grpc, redis, http is up: reports would wait in the spool",
    "passed: http is the one that is configured, and is up",
    "failed: http is configured, and is not up: reports would wait in the spool",
  ]);
});
