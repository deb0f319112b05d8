import { describe, expect, it } from "vitest";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { describeTarget, parseTarget } from "../../../src/store/target.js";

describe("a target", () => {
  it.each([
    ["postgres://ann:s3cret@db.example:5433/mcp?sslmode=require", "db.example:5433/mcp"],
    ["postgresql://ann@db/mcp", "db/mcp"],
    ["postgres://db", "db"],
    ["postgres:///mcp", "localhost/mcp"],
    ["postgres://ann:p%40ss@a:1,b:2/mcp", "a:1,b:2/mcp"],
    ["postgres://[::1]:5432/mcp", "[::1]:5432/mcp"],
  ])("of %s is shown as %s", (url, shown) => {
    expect(describeTarget(parseTarget(url))).toBe(shown);
  });

  it.each(["", "db", "http://db/mcp", "postgres://ann:s3cret@db:notaport/mcp", "postgres//ann:s3cret@db"])(
    "refuses %j without repeating it",
    (url) => {
      expect(() => parseTarget(url)).toThrow(CoordinatorError);
      expect(() => parseTarget(url)).not.toThrow(/s3cret/);
    },
  );
});
