import { z } from "zod";
import {
  degradedAnswer,
  errorAnswer,
  healthyAnswer,
  performanceAnswer,
  reportAccepted,
  reportRefused,
  reportsPartial,
  statsAnswer,
  validateAnswer,
  versionAnswer,
} from "./answers.js";
import { performanceQuery, reportBody } from "./requests.js";

/** One route as everybody may know it: the listener serves it and the OpenAPI document shows it. */
export type Route = {
  readonly id: "report" | "reportUnversioned" | "stats" | "health" | "validate" | "performance" | "version" | "openapi";
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly summary: string;
  /** Nobody is asked for a key. */
  readonly isOpen: boolean;
  /** Set for routes that a newer one replaces: when it did, seconds since 1970, and by which path. */
  readonly deprecated?: { readonly sinceSeconds: number; readonly successor: string };
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Schemas of the answers, by HTTP status. */
  readonly answers: Readonly<Record<number, z.ZodType>>;
};

/** Refusals of any route that asks for a key, and of any that reads a body. */
const keyRefusals = { 401: errorAnswer, 405: errorAnswer, 429: errorAnswer, 500: errorAnswer, 503: errorAnswer };
const reportAnswers = {
  ...keyRefusals,
  200: reportAccepted,
  207: reportsPartial,
  400: reportRefused,
  403: reportRefused,
  409: reportRefused,
  413: reportRefused,
  415: errorAnswer,
  503: reportRefused,
};

/** Every route of the HTTP API. The paths and bodies of the specification. */
export const routes: readonly Route[] = [
  {
    id: "report",
    method: "POST",
    path: "/api/v2/interactions",
    summary: "Report one event, or an array of them. 200 after the commit only; sending the same again is harmless",
    isOpen: false,
    body: reportBody,
    answers: reportAnswers,
  },
  {
    id: "reportUnversioned",
    method: "POST",
    path: "/api/interactions",
    summary: "The same under the path of the registration document, where `api_key` in the body stands in for the header",
    isOpen: false,
    deprecated: { sinceSeconds: 1_767_225_600, successor: "/api/v2/interactions" }, // 2026-01-01: there has been nothing but v2 since
    body: reportBody,
    answers: reportAnswers,
  },
  {
    id: "stats",
    method: "GET",
    path: "/api/v2/interactions/stats",
    summary: "Counts of reports over HTTP since the start, and of interactions in the store",
    isOpen: false,
    answers: { ...keyRefusals, 200: statsAnswer },
  },
  {
    id: "health",
    method: "GET",
    path: "/api/v2/health",
    summary: "Whether the coordinator takes and stores reports",
    isOpen: true,
    answers: { 200: healthyAnswer, 405: errorAnswer, 503: degradedAnswer },
  },
  {
    id: "validate",
    method: "POST",
    path: "/api/v2/validate",
    summary: "Whether a key is valid, and for which MCP. A body is not read",
    isOpen: false,
    answers: { ...keyRefusals, 200: validateAnswer },
  },
  {
    id: "performance",
    method: "GET",
    path: "/api/v2/performance/metrics",
    summary: "Figures over interactions that ended in a time range",
    isOpen: false,
    query: performanceQuery,
    answers: { ...keyRefusals, 200: performanceAnswer, 400: errorAnswer, 403: errorAnswer },
  },
  {
    id: "version",
    method: "GET",
    path: "/api/v2/version",
    summary: "Versions of the API and of the coordinator, to look at before integrating",
    isOpen: true,
    answers: { 200: versionAnswer, 405: errorAnswer },
  },
  {
    id: "openapi",
    method: "GET",
    path: "/api/v2/openapi.json",
    summary: "This document, without an envelope",
    isOpen: true,
    answers: { 200: z.looseObject({ openapi: z.literal("3.1.0") }), 405: errorAnswer },
  },
];
