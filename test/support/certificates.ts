import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Paths of files in PEM. */
export type CertifiedKey = { readonly cert: string; readonly key: string };

/** An authority of a test, with a folder of its own. */
export type Authority = {
  /** Path of its certificate. */
  readonly ca: string;
  /** Signs a certificate for names such as "DNS:localhost" and "IP:127.0.0.1"; `days` below 0 is one that has expired. */
  readonly issue: (names: readonly string[], days?: number) => CertifiedKey;
  readonly remove: () => void;
};

/** Why stories with certificates are skipped on this machine; undefined when they run. */
export function opensslSkipReason(): string | undefined {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "no openssl on PATH";
  }
}

/** The text of a file in PEM. */
export const pemOf = (path: string): string => readFileSync(path, "utf8");

/** Makes an authority that signs what it is asked to. */
export function createAuthority(commonName: string): Authority {
  const folder = mkdtempSync(join(tmpdir(), "mcpc-tls-"));
  const run = (...args: readonly string[]): void => {
    execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run("req", "-x509", ...newKey, "-days", "2", "-subj", `/CN=${commonName}`, "-keyout", "ca.key", "-out", "ca.pem");
  let issued = 0;
  return {
    ca: join(folder, "ca.pem"),
    issue: (names, days = 2) => {
      issued += 1;
      const file = (ending: string) => `issued-${issued}.${ending}`;
      writeFileSync(join(folder, file("ext")), `subjectAltName=${names.join(",")}\n`);
      run("req", ...newKey, "-subj", "/CN=issued", "-keyout", file("key"), "-out", file("csr"));
      const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", String(issued), "-days", String(days), "-extfile", file("ext")];
      run("x509", "-req", "-in", file("csr"), ...signing, "-out", file("pem"));
      return { cert: join(folder, file("pem")), key: join(folder, file("key")) };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
