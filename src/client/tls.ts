import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import { CoordinatorError } from "../platform/errors.js";

/** TLS towards what stands in front of a coordinator, as it is configured. Each of the first three is text in PEM, or the path of a file with it. */
export type TlsOptions = {
  /** Authorities to trust, instead of those that Node trusts. */
  readonly tlsCa?: string | undefined;
  /** Certificate of this client, with those between it and its authority, where one is asked for; and its private key. Both or neither. */
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  /** The name that the certificate has to be for, where it is not that of the address. */
  readonly tlsServerName?: string | undefined;
  /** Default "TLSv1.3". */
  readonly tlsMinVersion?: "TLSv1.3" | "TLSv1.2" | undefined;
};

/** TLS that is ready to be spoken. */
export type Tls = { readonly context: SecureContext; readonly serverName: string | undefined };

/** Version below which no handshake succeeds, unless another is asked for: every stack of the last years has it, and it hides the client's certificate. */
const tlsDefaultMinVersion = "TLSv1.3";

/** Reads the files and checks what is in them. Errors: `invalid` FIELD_VIOLATION that names the option. */
export function openTls(options: TlsOptions): Tls {
  const minVersion = options.tlsMinVersion ?? tlsDefaultMinVersion;
  const ca = readPem("tlsCa", options.tlsCa, "CERTIFICATE");
  const cert = readPem("tlsCert", options.tlsCert, "CERTIFICATE");
  const key = readPem("tlsKey", options.tlsKey, "PRIVATE KEY");
  const single = cert === undefined ? "tlsCert" : "tlsKey";
  if ((cert === undefined) !== (key === undefined)) throw fault(single, "must be given too: a certificate and its key go together");
  if (ca !== undefined) checkAuthorities(ca);
  const own = cert === undefined || key === undefined ? {} : { cert, key };
  const context = makeContext("tlsKey", { minVersion, ...own, ...(ca === undefined ? {} : { ca }) });
  return { context, serverName: options.tlsServerName };
}

function readPem(field: keyof TlsOptions, given: string | undefined, label: "CERTIFICATE" | "PRIVATE KEY"): string | undefined {
  if (given === undefined) return undefined;
  const pem = given.includes("-----BEGIN ") ? given : readText(field, given);
  if (new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(pem)) return pem;
  throw fault(field, `holds no ${label.toLowerCase()} in PEM`);
}

function readText(field: keyof TlsOptions, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    // Translates: the option names a file that is not there, or not for this user.
    throw fault(field, `names a file that cannot be read: ${path}`, thrown);
  }
}

/** OpenSSL passes over an authority that it cannot read, and would trust nobody then. */
function checkAuthorities(pem: string): void {
  try {
    for (const [one] of pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)) new X509Certificate(one);
  } catch (thrown) {
    // Translates: one of the bundle is damaged.
    throw fault("tlsCa", `cannot be used: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
}

function makeContext(field: keyof TlsOptions, options: SecureContextOptions): SecureContext {
  try {
    return createSecureContext(options);
  } catch (thrown) {
    // Translates: OpenSSL does not take it, for example a key that is not the certificate's.
    throw fault(field, `cannot be used: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
}

function fault(field: keyof TlsOptions, description: string, cause?: unknown): CoordinatorError {
  const fields = [{ field, reason: "MALFORMED", description }];
  return new CoordinatorError("invalid", `${field} ${description}`, { reason: "FIELD_VIOLATION", fields, cause });
}
