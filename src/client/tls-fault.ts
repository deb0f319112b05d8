/**
 * Why TLS was not established, named by what is to be mended: who signed the certificate, its time, its name; the certificate of this client; the version; or that one side
 * does not speak TLS.
 */
export type TlsFaultKind =
  | "CERTIFICATE_UNTRUSTED"
  | "CERTIFICATE_EXPIRED"
  | "CERTIFICATE_NAME"
  | "CLIENT_CERTIFICATE"
  | "TLS_VERSION"
  | "NOT_TLS";

/** A fault with a sentence for people: what is wrong, and after the semicolon what to do. */
export type TlsFault = { readonly kind: TlsFaultKind; readonly why: string };

/**
 * Words in which Node and OpenSSL name each fault; the first that fits counts. A stack between us and them passes on their words, and not always their codes.
 * Source: OpenSSL's X509_verify_cert_error_string and its alerts (RFC 8446, 6.2); Node's tls.checkServerIdentity.
 */
const faults: readonly (readonly [TlsFaultKind, RegExp, string, string])[] = [
  [
    "CLIENT_CERTIFICATE",
    /alert (certificate required|bad certificate|unknown ca|certificate unknown|handshake failure)|alert number (42|46|48|116)\b/i,
    "the certificate of this client is missing or not accepted",
    "give tlsCert and tlsKey (--cert-file and --cert-key-file) that the other side trusts",
  ],
  [
    "TLS_VERSION",
    /alert protocol version|alert number 70\b|unsupported protocol|no protocols available|version too low/i,
    "there is no version of TLS that both sides speak",
    "let the proxy speak TLS 1.3, or set tlsMinVersion (--tls-min-version) to TLSv1.2",
  ],
  [
    "NOT_TLS",
    /wrong version number|packet length too long|http request|unexpected message|record layer failure/i,
    "what answers does not speak TLS",
    "use the port of the proxy that speaks it, or an address with http:// where the way is trusted",
  ],
  [
    "CERTIFICATE_EXPIRED",
    /certificate has expired|certificate is not yet valid|CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/i,
    "the certificate is not valid at this time",
    "renew it, or correct the clock of this machine",
  ],
  [
    "CERTIFICATE_NAME",
    /does not match certificate|ERR_TLS_CERT_ALTNAME_INVALID/i,
    "the certificate is for another name",
    "use the name that is in it as the address, or give it as tlsServerName (--server-name)",
  ],
  [
    "CERTIFICATE_UNTRUSTED",
    /self[- ]signed certificate|unable to (get|verify)[a-z ]* certificate|unable to verify the first certificate|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/i,
    "the certificate is signed by nobody who is trusted here",
    "give tlsCa (--ca-file) the certificate of the authority that signed it",
  ],
];

/** What a failed connection says about TLS; undefined when it failed for another reason. Total. */
export function tlsFaultOf(said: string): TlsFault | undefined {
  for (const [kind, pattern, what, nextStep] of faults) {
    const found = pattern.exec(said);
    if (found !== null) return { kind, why: `${what}: ${found[0]}; ${nextStep}` };
  }
  return undefined;
}
