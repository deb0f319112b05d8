import { expect, test } from "vitest";
import { retryableByStatus } from "../../../src/ingest/verdict.js";
import { contractStatuses, renderErrorsDoc } from "./render-errors.js";

test("docs/errors.md says what the tables of errors and verdicts say; after a change, run vitest with -u", async () => {
  await expect(renderErrorsDoc()).toMatchFileSnapshot("../../../docs/errors.md");
});

test("there is a verdict for each status of the contract and no other", () => {
  expect(Object.keys(retryableByStatus).sort()).toEqual([...contractStatuses()].sort());
});
