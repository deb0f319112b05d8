import { expect, test } from "vitest";
import { createConnection, hasAlternatives } from "../../../src/client/connect.js";

test("a comma at the end of a list of targets names no further one", () => {
  const endpoint = { target: "127.0.0.1:9, ", key: undefined };
  expect(hasAlternatives(endpoint)).toBe(false);
  // The second connection of a session is made in a timer, where nobody could catch what it throws.
  for (const turn of [0, 1, 2]) createConnection(endpoint, turn).close();
});
