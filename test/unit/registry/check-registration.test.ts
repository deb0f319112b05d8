import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkRegistration, healthUrlOf, type RegistrationInput } from "../../../src/registry/check-registration.js";
import { parseCpu, parseMemory } from "../../../src/registry/quantity.js";

const documented: RegistrationInput = {
  name: "ocr_workflow_mcp",
  version: "1.0.0",
  instance: "",
  type: "workflow",
  capabilities: ["ocr_processing", "document_analysis"],
  supportedFormats: ["image/jpeg", "image/png", "application/pdf"],
  resourceRequirements: { minMemory: "1GB", minCpu: "2 cores", gpuRequired: false },
  endpoints: { healthCheck: "/health", process: "/process", status: "/status", baseUrl: "" },
};

function faultsOf(more: Partial<RegistrationInput>): readonly string[] {
  const checked = checkRegistration({ ...documented, ...more });
  return checked.kind === "faults" ? checked.faults.map(({ field, reason }) => `${field} ${reason}`) : [];
}

const endpoints = { healthCheck: "", process: "", status: "", baseUrl: "" };

describe("a registration", () => {
  it("as the documents show it is taken, with its quantities as numbers", () => {
    expect(checkRegistration(documented)).toMatchObject({
      kind: "registration",
      registration: {
        name: "ocr_workflow_mcp",
        profile: { minMemory: "1GB", minMemoryBytes: 1_000_000_000, minCpuCores: 2, gpuRequired: false },
      },
    });
  });

  it.each([
    ["a name that is empty", { name: "" }, ["name REQUIRED"]],
    ["a name with a slash", { name: "a/b" }, ["name MALFORMED"]],
    ["a name that is too long", { name: "n".repeat(129) }, ["name TOO_LONG"]],
    ["no version", { version: "" }, ["version REQUIRED"]],
    ["a version that is no semver", { version: "1.0" }, ["version MALFORMED"]],
    ["a capability named twice", { capabilities: ["a", "b", "a"] }, ["capabilities[2] DUPLICATE"]],
    ["an empty capability", { capabilities: [""] }, ["capabilities[0] REQUIRED"]],
    ["a format named twice", { supportedFormats: ["image/png", "image/png"] }, ["supported_formats[1] DUPLICATE"]],
    ["too many capabilities", { capabilities: Array.from({ length: 65 }, (_, i) => `c${i}`) }, ["capabilities TOO_MANY"]],
    ["NUL in a type", { type: "a\0b" }, ["type UNSUPPORTED_CHARACTER"]],
    [
      "quantities that do not parse",
      { resourceRequirements: { minMemory: "much", minCpu: "-2 cores", gpuRequired: false } },
      ["resource_requirements.min_memory MALFORMED", "resource_requirements.min_cpu MALFORMED"],
    ],
    ["another scheme", { endpoints: { ...endpoints, healthCheck: "ftp://host/health" } }, ["endpoints.health_check MALFORMED"]],
    ["a file", { endpoints: { ...endpoints, healthCheck: "file:///etc/passwd" } }, ["endpoints.health_check MALFORMED"]],
    ["a script", { endpoints: { ...endpoints, process: "javascript:alert(1)" } }, ["endpoints.process MALFORMED"]],
    ["a path that names a host", { endpoints: { ...endpoints, status: "//evil/health" } }, ["endpoints.status MALFORMED"]],
    ["a path that names a host for browsers", { endpoints: { ...endpoints, status: "/\\evil/health" } }, ["endpoints.status MALFORMED"]],
    ["a password in a URL", { endpoints: { ...endpoints, healthCheck: "http://u:p@host/" } }, ["endpoints.health_check MALFORMED"]],
    ["a base with a path", { endpoints: { ...endpoints, baseUrl: "http://host/base" } }, ["endpoints.base_url MALFORMED"]],
    ["a URL that is too long", { endpoints: { ...endpoints, process: `/${"p".repeat(2_048)}` } }, ["endpoints.process TOO_LONG"]],
  ] as const)("with %s is refused, naming the field", (_, more, faults) => {
    expect(faultsOf(more)).toEqual(faults);
  });

  it("is refused with every fault at once, sixteen at most", () => {
    expect(faultsOf({ name: "", version: "x", capabilities: ["", ""] })).toHaveLength(4);
    expect(faultsOf({ capabilities: Array.from({ length: 64 }, () => "") })).toHaveLength(16);
  });

  it("says where its health can be asked when it gives a URL, or a path and a base", () => {
    expect(healthUrlOf({ healthCheck: "/health", baseUrl: "http://10.0.0.5:9000" })?.href).toBe("http://10.0.0.5:9000/health");
    expect(healthUrlOf({ healthCheck: "https://host/h?x=1", baseUrl: "" })?.href).toBe("https://host/h?x=1");
    expect(healthUrlOf({ healthCheck: "/health", baseUrl: "" })).toBeUndefined();
    expect(healthUrlOf({ healthCheck: "", baseUrl: "http://host" })).toBeUndefined();
  });

  it("of any texts either passes with all of them or names fields, and never throws", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.array(fc.string(), { maxLength: 5 }),
        fc.string(),
        fc.webUrl(),
        (name, version, tags, text, url) => {
          const checked = checkRegistration({
            ...documented,
            name,
            version,
            capabilities: tags,
            resourceRequirements: { minMemory: text, minCpu: text, gpuRequired: true },
            endpoints: { healthCheck: text, process: url, status: url, baseUrl: text },
          });
          if (checked.kind === "faults") expect(checked.faults.length).toBeGreaterThan(0);
          else expect(new Set(checked.registration.profile.capabilities).size).toBe(tags.length);
        },
      ),
    );
  });
});

describe("quantities", () => {
  it.each([
    ["1GB", 1e9],
    ["1 gb", 1e9],
    ["512 MiB", 536_870_912],
    ["1.5KiB", 1_536],
    ["10B", 10],
    ["2TiB", 2_199_023_255_552],
  ])("memory %j is %d bytes", (text, value) => expect(parseMemory(text)).toEqual({ kind: "value", value }));
  it.each(["1", "GB", "-1GB", "1 G B", "0GB", "1e3GB", "1GBs", "١GB", "99999999TB", "1.GB"])("memory is not %j", (text) =>
    expect(parseMemory(text).kind).toBe("fault"),
  );
  it.each([
    ["2 cores", 2],
    ["1 core", 1],
    ["0.5", 0.5],
    ["500m", 0.5],
    ["4", 4],
  ])("processor time %j is %d cores", (text, value) => expect(parseCpu(text)).toEqual({ kind: "value", value }));
  it.each(["", "cores", "two cores", "-1", "0", "1e9", "Infinity", "2 GB", "1000001"])("processor time is not %j", (text) =>
    expect(parseCpu(text).kind).toBe("fault"),
  );
});
