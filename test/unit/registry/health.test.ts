import { expect, it } from "vitest";
import { startTally, tallyCheck } from "../../../src/registry/health.js";

it("health rises from unknown with one check, falls after three failures in a row, and rises again after two passed ones", () => {
  const after = (checks: string, from = startTally("unknown")) =>
    [...checks].reduce((tally, check) => tallyCheck(tally, check === "+"), from).health;
  expect(
    ["", "+", "-", "--", "---", "--+", "+--", "+---", "+---+", "+---++", "+--+--", "---+-+", "---++"].map((checks) => after(checks)),
  ).toEqual([
    "unknown",
    "healthy",
    "unknown",
    "unknown",
    "unhealthy",
    "healthy",
    "healthy",
    "unhealthy",
    "unhealthy",
    "healthy",
    "healthy",
    "unhealthy",
    "healthy",
  ]);
});
