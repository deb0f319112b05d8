import { expect, test } from "vitest";
import { type TlsFaultKind, tlsFaultOf } from "../../../src/client/tls-fault.js";

/** What Node 20 to 24, OpenSSL 3 and grpc-js say, for each kind. */
const said = {
  CERTIFICATE_UNTRUSTED: [
    "self-signed certificate in certificate chain SELF_SIGNED_CERT_IN_CHAIN",
    "self signed certificate",
    "unable to verify the first certificate UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "unable to get local issuer certificate",
    "No connection established. Last error: Error: unable to verify the first certificate. Resolution note: ",
  ],
  CERTIFICATE_EXPIRED: ["certificate has expired CERT_HAS_EXPIRED", "certificate is not yet valid"],
  CERTIFICATE_NAME: [
    "Hostname/IP does not match certificate's altnames: Host: a. is not in the cert's altnames: DNS:b ERR_TLS_CERT_ALTNAME_INVALID",
  ],
  CLIENT_CERTIFICATE: [
    "0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../ssl/record/rec_layer_s3.c:1605:SSL alert number 116",
    "C0:error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:SSL alert number 48",
  ],
  TLS_VERSION: ["0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:SSL alert number 70", "unsupported protocol"],
  NOT_TLS: ["error:0A00010B:SSL routines:ssl3_get_record:wrong version number", "packet length too long EPROTO"],
} as const satisfies Record<TlsFaultKind, readonly string[]>;

test.each(Object.entries(said).flatMap(([kind, texts]) => texts.map((text) => [kind, text] as const)))(
  "%s is known by: %s",
  (kind, text) => {
    const fault = tlsFaultOf(text);
    expect(fault?.kind).toBe(kind);
    // One sentence about what is wrong, and one next step.
    expect(fault?.why.split("; ")).toHaveLength(2);
  },
);

test("what is no fault of TLS is left to others", () => {
  for (const text of [
    "",
    "connect ECONNREFUSED 127.0.0.1:9",
    "socket hang up ECONNRESET",
    "the certificate office is closed",
    "read ETIMEDOUT",
  ])
    expect(tlsFaultOf(text)).toBeUndefined();
});
