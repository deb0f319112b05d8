import { expect, test } from "vitest";
import { type ReporterOptions, readOptions, speaksTls } from "../../../src/client/reporter-options.js";

const faultsOf = (options: Partial<ReporterOptions>): readonly string[] =>
  readOptions({ mcpId: "ocr", coordinatorUrl: "https://mcp.example", ...options }).faults.map(({ field }) => field);

test("TLS is spoken beside a web address that has it, and wherever something is configured for it; its address may not be plain text then", () => {
  const settingsOf = (options: Partial<ReporterOptions>) => readOptions({ mcpId: "ocr", ...options }).settings;
  expect(speaksTls(settingsOf({ coordinatorUrl: "HTTPS://mcp.example" }))).toBe(true);
  expect(speaksTls(settingsOf({ coordinatorUrl: "http://mcp.example" }))).toBe(false);
  expect(speaksTls(settingsOf({ grpcTarget: "a:1" }))).toBe(false);
  for (const one of [{ tlsCa: "ca.pem" }, { tlsServerName: "b" }, { tlsMinVersion: "TLSv1.2" }] as const) {
    expect(speaksTls(settingsOf({ grpcTarget: "a:1", ...one }))).toBe(true);
    expect(faultsOf({ coordinatorUrl: "http://mcp.example", ...one })).toEqual(["coordinatorUrl"]);
    expect(faultsOf(one)).toEqual([]);
  }
});

test("options about TLS and targets that cannot be used are named", () => {
  expect(faultsOf({ grpcTarget: "https://a:1/path" })).toEqual(["grpcTarget"]);
  expect(faultsOf({ tlsCa: "", tlsServerName: "" })).toEqual(["tlsCa", "tlsServerName"]);
  // The cast: callers without types.
  expect(faultsOf({ tlsMinVersion: "TLSv1" as "TLSv1.2" })).toEqual(["tlsMinVersion"]);
});

test("the throttle over every transport is the number that was given, and none when none was", () => {
  const base = { mcpId: "ocr", coordinatorUrl: "http://a" };
  expect(readOptions(base).settings).toMatchObject({ requestsPerSecond: 10, throttle: undefined });
  expect(readOptions({ ...base, requestsPerSecond: 10 }).settings).toMatchObject({ requestsPerSecond: 10, throttle: 10 });
});
