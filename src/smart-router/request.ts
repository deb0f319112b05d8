import { limits } from "../platform/limits.js";

/**
 * What a caller wants done, as far as routing may look at it. Texts and lists were checked at the edge and are within `limits`; empty means unspecified.
 */
export type RouteRequest = {
  /** The routing class: StartDetail.request_type. */
  readonly requestType: string;
  readonly inputBytes: number;
  /** "low", "normal", "high", or free text. */
  readonly qualityLevel: string;
  /** "public", "internal", "sensitive", or free text. */
  readonly privacyLevel: string;
  /** Input format that the MCP must support. */
  readonly format: string;
  /** Capabilities that the MCP must have, all of them. */
  readonly capabilities: readonly string[];
  readonly tenant: string;
  /** Latency that still is of use to the caller; undefined takes the objective of the class. Unit: ms. */
  readonly deadlineMs: number | undefined;
  /** MCPs that must not be chosen: those that were tried already. */
  readonly exclude: ReadonlySet<string>;
  /** May be tried twice, so it may probe an MCP that was ejected. */
  readonly isIdempotent: boolean;
  /** May be refused first when everything is full. */
  readonly isSheddable: boolean;
  /** Must not be used to try out an MCP that is not believed to be the best. */
  readonly noExplore: boolean;
};

/** A request of which nothing is said. */
export const plainRequest: RouteRequest = {
  requestType: "",
  inputBytes: 0,
  qualityLevel: "",
  privacyLevel: "",
  format: "",
  capabilities: [],
  tenant: "",
  deadlineMs: undefined,
  exclude: new Set(),
  isIdempotent: false,
  isSheddable: false,
  noExplore: false,
};

/** What a start event says of its request. Member by member: this runs for every start event, and a spread costs more. */
export function startedRequest(facts: Pick<RouteRequest, "requestType" | "inputBytes" | "qualityLevel" | "privacyLevel">): RouteRequest {
  return {
    requestType: facts.requestType,
    inputBytes: facts.inputBytes,
    qualityLevel: facts.qualityLevel,
    privacyLevel: facts.privacyLevel,
    format: plainRequest.format,
    capabilities: plainRequest.capabilities,
    tenant: plainRequest.tenant,
    deadlineMs: plainRequest.deadlineMs,
    exclude: plainRequest.exclude,
    isIdempotent: plainRequest.isIdempotent,
    isSheddable: plainRequest.isSheddable,
    noExplore: plainRequest.noExplore,
  };
}

/**
 * Names the class of a request: its type, and the power of four that its input fills ("ocr/7" for 4^6 to 4^7 − 1 bytes; 0 for none).     Source: router.md 1.2.
 */
export function classOf({ requestType, inputBytes }: Pick<RouteRequest, "requestType" | "inputBytes">): string {
  const bucket = inputBytes < 1 ? 0 : Math.floor(Math.log2(inputBytes) / 2) + 1;
  let ofType = madeNames.get(requestType);
  if (ofType === undefined) {
    if (madeNames.size >= limits.routedClassesMax) madeNames.clear();
    ofType = new Map();
    madeNames.set(requestType, ofType);
  }
  let name = ofType.get(bucket);
  if (name === undefined) {
    name = `${requestType}/${bucket}`;
    ofType.set(bucket, name);
  }
  return name;
}

/** Names by type and power of four: they are keys of maps, and a text that is made anew must be hashed anew. At most `limits.routedClassesMax` types. */
const madeNames = new Map<string, Map<number, string>>();
