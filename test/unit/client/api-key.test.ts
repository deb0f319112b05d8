import { Metadata } from "@grpc/grpc-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { usableKey } from "../../../src/client/api-key.js";
import { KeyRenewal } from "../../../src/client/key-renewal.js";
import { readOptions } from "../../../src/client/reporter-options.js";

test("a key from a file is used without the end of its line, and one that no header can hold is none", () => {
  expect(usableKey("sk-1\n")).toBe("sk-1");
  for (const text of ["", " \r\n", "sk-1\nsk-2", "schl\u00fcssel", "sk-\u0000"]) expect(usableKey(text)).toBeUndefined();
});

test("what is usable can be sent over gRPC, whatever it is", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const key = usableKey(text);
      if (key !== undefined) new Metadata().set("authorization", `Bearer ${key}`);
    }),
  );
});

test("a reporter takes such a key, and names the option of another", () => {
  const base = { mcpId: "ocr", coordinatorUrl: "http://a" };
  expect(readOptions({ ...base, apiKey: "sk-1\n" })).toMatchObject({ faults: [], settings: { apiKey: "sk-1" } });
  expect(readOptions({ ...base, apiKey: "" }).faults).toEqual([]);
  expect(readOptions({ ...base, apiKey: "sk\n1" }).faults.map(({ field }) => field)).toEqual(["apiKey"]);
});

test("a renewed key is cleaned in the same way, and one that cannot be used counts as none", async () => {
  const renewed: string[] = [];
  const answers = ["sk-2\n", "s\nk", undefined];
  const keys = new KeyRenewal(
    async () => answers.shift(),
    (key) => renewed.push(key),
  );
  for (let round = 0; round < 3; round += 1) await keys.request();
  expect(renewed).toEqual(["sk-2"]);
});
