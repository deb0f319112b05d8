import { checkText } from "../interaction/check.js";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseVersion } from "../platform/semver.js";
import type { McpProfile, NewRegistration } from "../store/registry-rows.js";
import { parseCpu, parseMemory, type Quantity } from "./quantity.js";

/** A registration as it was asked for: RegisterMcpRequest has this shape. */
export type RegistrationInput = {
  readonly name: string;
  readonly version: string;
  readonly instance: string;
  readonly type: string;
  readonly capabilities: readonly string[];
  readonly supportedFormats: readonly string[];
  readonly resourceRequirements?: { readonly minMemory: string; readonly minCpu: string; readonly gpuRequired: boolean } | undefined;
  readonly endpoints?:
    | { readonly healthCheck: string; readonly process: string; readonly status: string; readonly baseUrl: string }
    | undefined;
};

export type CheckedRegistration =
  | { readonly kind: "registration"; readonly registration: NewRegistration }
  | { readonly kind: "faults"; readonly faults: readonly FieldFault[] };

/** The registration, or every fault of it, at most `limits.violationMaxCount`. Pure. Source: the comments of registry_service.proto. */
export function checkRegistration(input: RegistrationInput): CheckedRegistration {
  const faults: FieldFault[] = [];
  const report: Report = (field, reason, description) => {
    if (faults.length < limits.violationMaxCount) faults.push({ field, reason, description });
  };
  checkName(input.name, report);
  if (input.version === "") report("version", "REQUIRED", "must not be empty");
  else if (input.version.length > limits.idMaxBytes || parseVersion(input.version) === undefined) {
    report("version", "MALFORMED", 'must be a semantic version, for example "1.0.0"');
  }
  checkText(input.instance, "instance", report);
  checkText(input.type, "type", report);
  checkTags(input.capabilities, "capabilities", report);
  checkTags(input.supportedFormats, "supported_formats", report);
  const { minMemory = "", minCpu = "", gpuRequired = false } = input.resourceRequirements ?? {};
  const minMemoryBytes = measure(minMemory, "resource_requirements.min_memory", parseMemory, report);
  const minCpuCores = measure(minCpu, "resource_requirements.min_cpu", parseCpu, report);
  const { healthCheck = "", process = "", status = "", baseUrl = "" } = input.endpoints ?? {};
  checkBaseUrl(baseUrl, report);
  checkEndpoint(healthCheck, "endpoints.health_check", report);
  checkEndpoint(process, "endpoints.process", report);
  checkEndpoint(status, "endpoints.status", report);
  if (faults.length > 0) return { kind: "faults", faults };
  const profile: McpProfile = {
    type: input.type,
    capabilities: [...input.capabilities],
    formats: [...input.supportedFormats],
    minMemory,
    minMemoryBytes,
    minCpu,
    minCpuCores,
    gpuRequired,
    healthCheck,
    process,
    status,
    baseUrl,
  };
  return { kind: "registration", registration: { name: input.name, version: input.version, instance: input.instance, profile } };
}

/** Where the health of an MCP can be asked; undefined when it has not said. */
export function healthUrlOf(profile: Pick<McpProfile, "healthCheck" | "baseUrl">): URL | undefined {
  if (profile.healthCheck === "") return undefined;
  if (!profile.healthCheck.startsWith("/")) return parseHttpUrl(profile.healthCheck);
  return profile.baseUrl === "" ? undefined : new URL(profile.healthCheck, profile.baseUrl);
}

type Report = (field: string, reason: string, description: string) => void;

function checkName(name: string, report: Report): void {
  if (name === "") report("name", "REQUIRED", "must not be empty");
  else if (name.length > limits.mcpNameMaxBytes) report("name", "TOO_LONG", `at most ${limits.mcpNameMaxBytes} characters`);
  else if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    report("name", "MALFORMED", 'must be of a-z, A-Z, 0-9, "_", "-" and ".", beginning with a letter or a digit');
  }
}

function checkTags(tags: readonly string[], field: string, report: Report): void {
  if (tags.length > limits.mcpTagMaxCount) {
    report(field, "TOO_MANY", `at most ${limits.mcpTagMaxCount}`);
    return;
  }
  const seen = new Map<string, number>();
  for (const [index, tag] of tags.entries()) {
    const place = `${field}[${index}]`;
    const earlier = seen.get(tag);
    if (tag === "") report(place, "REQUIRED", "must not be empty");
    else if (earlier !== undefined) report(place, "DUPLICATE", `is the same as ${field}[${earlier}]`);
    else seen.set(tag, index);
    checkText(tag, place, report);
  }
}

/** The quantity's value, 0 when it is not said. */
function measure(text: string, field: string, parse: (text: string) => Quantity, report: Report): number {
  if (text === "") return 0;
  const quantity: Quantity = text.length > limits.idMaxBytes ? { kind: "fault", description: "is too long for a quantity" } : parse(text);
  if (quantity.kind === "value") return quantity.value;
  report(field, "MALFORMED", quantity.description);
  return 0;
}

function checkBaseUrl(text: string, report: Report): void {
  if (text === "" || !isSoundText(text, "endpoints.base_url", report)) return;
  const url = parseHttpUrl(text);
  const rule = 'must be a scheme of http or https, a host and no more than a port, for example "http://10.0.0.5:9000"';
  if (url === undefined || url.pathname !== "/" || url.search !== "" || url.hash !== "") report("endpoints.base_url", "MALFORMED", rule);
}

function checkEndpoint(text: string, field: string, report: Report): void {
  if (text === "" || !isSoundText(text, field, report)) return;
  // Two slashes, of either kind, would name another host.
  const isPath = /^\/(?![/\\])/.test(text) && URL.canParse(text, "http://host");
  if (!isPath && parseHttpUrl(text) === undefined) {
    report(field, "MALFORMED", 'must be a URL with http or https and without user and password, or a path that begins with one "/"');
  }
}

function isSoundText(text: string, field: string, report: Report): boolean {
  let isSound = true;
  checkText(
    text,
    field,
    (place, reason, description) => {
      isSound = false;
      report(place, reason, description);
    },
    limits.endpointMaxBytes,
  );
  return isSound;
}

/** Credentials in a URL would end up in logs and lists. */
function parseHttpUrl(text: string): URL | undefined {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return url.username === "" && url.password === "" ? url : undefined;
}
