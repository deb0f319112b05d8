import type { RequestFeatures } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import { checkText } from "../interaction/check.js";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { plainRequest, type RouteRequest } from "../smart-router/request.js";
import { refuseFaults } from "./field-faults.js";

type Report = (field: string, reason: string, description: string) => void;

/** What a caller asks for, as the router sees it; absent means a request of which nothing is said. Throws `invalid` with every fault that was found. */
export function parseRouteRequest(features: RequestFeatures | undefined): RouteRequest {
  if (features === undefined) return plainRequest;
  const faults: FieldFault[] = [];
  const report: Report = (field, reason, description) => {
    if (faults.length < limits.violationMaxCount) faults.push({ field, reason, description });
  };
  checkText(features.requestType, "request.request_type", report);
  checkText(features.qualityLevel, "request.quality_level", report);
  checkText(features.privacyLevel, "request.privacy_level", report);
  checkText(features.format, "request.format", report);
  checkText(features.tenant, "request.tenant", report);
  checkNames(features.capabilities, "request.capabilities", limits.capabilityMaxCount, report);
  checkNames(features.excludeMcpIds, "request.exclude_mcp_ids", limits.excludedMcpMax, report);
  const inputBytes = Number(features.inputBytes);
  if (!Number.isSafeInteger(inputBytes)) report("request.input_bytes", "OUT_OF_RANGE", "must be below 2^53");
  const deadlineMs = parseDeadline(features.deadline, report);
  refuseFaults(faults);
  return {
    requestType: features.requestType,
    inputBytes,
    qualityLevel: features.qualityLevel,
    privacyLevel: features.privacyLevel,
    format: features.format,
    capabilities: [...features.capabilities],
    tenant: features.tenant,
    deadlineMs,
    exclude: new Set(features.excludeMcpIds),
    isIdempotent: features.idempotent,
    isSheddable: features.sheddable,
    noExplore: features.noExplore,
  };
}

/** Faults of a list of names: too many, an empty one, one that no text may be, one that is there twice. */
export function checkNames(names: readonly string[], field: string, maxCount: number, report: Report): void {
  if (names.length > maxCount) {
    report(field, "TOO_MANY", `at most ${maxCount}`);
    return;
  }
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    const place = `${field}[${index}]`;
    if (name === "") report(place, "REQUIRED", "must not be empty");
    checkText(name, place, report);
    if (seen.has(name)) report(place, "DUPLICATE", `"${name.slice(0, 64)}" is there already`);
    seen.add(name);
  }
}

function parseDeadline(deadline: RequestFeatures["deadline"], report: Report): number | undefined {
  if (deadline === undefined) return undefined;
  const ms = Number(deadline.seconds) * 1_000 + deadline.nanos / 1_000_000;
  if (ms > 0 && ms <= limits.timerMaxMs) return ms;
  report("request.deadline", "OUT_OF_RANGE", `must be above 0 and at most ${limits.timerMaxMs / 1_000} s`);
  return undefined;
}
