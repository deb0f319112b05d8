import { describe, expect, test } from "vitest";
import { explainStreamFailure, explainUnreachable } from "../../../src/client/transports/explain.js";

const unavailable = 14;

describe("a call that reached no coordinator", () => {
  test.each([
    [
      "No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ",
      "cannot be reached: connect ECONNREFUSED 127.0.0.1:1 (gRPC status 14); check the address, and that a coordinator runs there",
    ],
    [
      "No connection established. Last error: Protocol error (2026-11-21T13:12:17.583Z). Resolution note: ",
      "what answers does not speak HTTP/2: Protocol error (gRPC status 14); use the coordinator's gRPC port, or a proxy that passes HTTP/2 on",
    ],
    [
      "Name resolution failed for target dns:nobody:50051",
      "cannot be reached: Name resolution failed for target dns:nobody:50051 (gRPC status 14); check the address, and that a coordinator runs there",
    ],
  ])("%s is told in words, with the next step", (details, sentence) => {
    expect(explainUnreachable({ code: unavailable, details })).toBe(sentence);
  });

  test("is told apart from one that a coordinator has answered", () => {
    expect(explainUnreachable({ code: unavailable, details: "no MCP that could serve the request is connected and fit" })).toBeUndefined();
    expect(explainUnreachable({ code: 5, details: "No connection established. Last error: x. Resolution note: " })).toBeUndefined();
  });

  test("a stream that could not be opened is told without the words of the library", () => {
    const details = "No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:50051. Resolution note: ";
    expect(explainStreamFailure({ code: unavailable, details })).toBe(
      "cannot be reached: connect ECONNREFUSED 10.0.0.1:50051 (gRPC status 14)",
    );
  });
});
