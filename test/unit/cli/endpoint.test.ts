import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createTestProgram } from "./test-program.js";

const folder = mkdtempSync(join(tmpdir(), "mcpc-endpoint-"));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const torn = file("torn", "sk-1\nsk-2\n");
const certificate = file("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["a target with a path", ["--target", "https://a:1/path"], "--target must be host:port or https://host:port"],
  ["an IPv6 address without brackets", ["--target", "::1:1"], '--target must have brackets around an IPv6 address: [::1]:1, not "::1:1"'],
  ["a key that no header can hold", ["--key-file", torn], "holds no key"],
  ["a version of TLS that there is not", ["--tls-min-version", "1.1"], "--tls-min-version must be TLSv1.3 or TLSv1.2"],
  ["authorities that are none", ["--ca-file", torn], "--ca-file holds no certificate in PEM"],
  ["authorities that OpenSSL does not read", ["--ca-file", certificate], "--ca-file cannot be used"],
  ["a certificate without its key", ["--cert-file", certificate], "--cert-key-file must be given too"],
])("%s is a wrong command line, and nothing is connected", async (_, flags, said) => {
  const program = createTestProgram();
  expect(await program.run("routes", ...flags)).toBe(2);
  expect(program.stderr.join("")).toContain(said);
});

test("a key in the environment is judged in the same way", async () => {
  const program = createTestProgram({ env: { MCPC_KEY: "sk\n1" } });
  expect(await program.run("routes")).toBe(2);
  expect(program.stderr.join("")).toContain("MCPC_KEY holds no key");
});
