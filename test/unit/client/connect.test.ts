import { expect, test } from "vitest";
import { createConnection } from "../../../src/client/connect.js";

test("a comma at the end of a list of targets is found when the session is made, and not in the timer of a reconnect", () => {
  for (const turn of [0, 1, 2])
    expect(() => createConnection({ target: "127.0.0.1:9, ", key: undefined }, turn)).toThrow(/must be host:port/);
});
