import { expect, test } from "vitest";
import { createConnection } from "../../../src/client/connect.js";
import { KeyRenewal } from "../../../src/client/key-renewal.js";
import { readOptions } from "../../../src/client/reporter-options.js";

const target = "127.0.0.1:9";
const options = { mcpId: "ocr", grpcTarget: target, enableReporting: true };

test("a key as it stands in a file, with its line end, is a good key", async () => {
  const { settings, faults } = readOptions({ ...options, apiKey: "mcpk_secret\n" });
  expect(faults).toEqual([]);
  expect(settings.apiKey).toBe("mcpk_secret");
  const renewed: string[] = [];
  await new KeyRenewal(
    async () => " mcpk_second\r\n",
    (key) => renewed.push(key),
  ).request();
  expect(renewed).toEqual(["mcpk_second"]);
});

test.each(["mcpk_one\nmcpk_two", "mcpk_\u00e4", "mcpk \u0000"])(
  "a key that no header can carry is refused by name and never shown: %j",
  async (key) => {
    const { faults } = readOptions({ ...options, apiKey: key });
    expect(faults.map(({ field }) => field)).toEqual(["apiKey"]);
    expect(JSON.stringify(faults)).not.toContain("mcpk");
    const renewed: string[] = [];
    await new KeyRenewal(
      async () => key,
      (one) => renewed.push(one),
    ).request();
    expect(renewed).toEqual([]);
    expect(() => createConnection({ target, key })).toThrow(/key/);
    expect(() => createConnection({ target, key })).not.toThrow(/mcpk/);
  },
);
