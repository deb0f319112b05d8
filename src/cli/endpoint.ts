import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { usableKey } from "../client/api-key.js";
import type { Endpoint } from "../client/connect.js";
import { parseTargets, targetFault } from "../client/target.js";
import { openTls, type Tls, type TlsOptions } from "../client/tls.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { CliFailure } from "./exit-code.js";
import type { CliContext } from "./output.js";

/** Options about TLS. */
export type TlsFlags = {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly certKeyFile?: string;
  readonly serverName?: string;
  readonly tlsMinVersion?: string;
};

/** Options of every command that talks to a coordinator. */
export type EndpointOptions = TlsFlags & { readonly target: string; readonly keyFile?: string };

/** Adds `--target`, `--key-file` and the flags about TLS. */
export function addEndpointFlags(command: Command): Command {
  return addTlsFlags(
    command
      .option(
        "--target <host:port>",
        "the coordinator's gRPC port; streams take several, with commas between; https://host:port speaks TLS",
        "localhost:50051",
      )
      .option("--key-file <file>", "file with the API key; otherwise MCPC_KEY"),
  );
}

/** Adds `--ca-file`, `--cert-file`, `--cert-key-file`, `--server-name` and `--tls-min-version`. */
export function addTlsFlags(command: Command): Command {
  return command
    .option("--ca-file <file>", "PEM of the authorities to trust: speaks TLS, to a proxy in front of the coordinator")
    .option("--cert-file <file>", "PEM of this client's certificate, where the proxy asks for one")
    .option("--cert-key-file <file>", "PEM of its private key")
    .option("--server-name <name>", "the name that the proxy's certificate is for, if not that of the address")
    .option("--tls-min-version <version>", "TLSv1.3 or TLSv1.2; otherwise TLSv1.3");
}

const flagOf = {
  tlsCa: "--ca-file",
  tlsCert: "--cert-file",
  tlsKey: "--cert-key-file",
  tlsServerName: "--server-name",
  tlsMinVersion: "--tls-min-version",
} as const satisfies Readonly<Record<keyof TlsOptions, string>>;

/** What the flags say, as options of a client. Errors: CliFailure `usage` for a version that is none. */
export function tlsOptionsOf({ caFile, certFile, certKeyFile, serverName, tlsMinVersion }: TlsFlags): TlsOptions {
  if (tlsMinVersion !== undefined && tlsMinVersion !== "TLSv1.3" && tlsMinVersion !== "TLSv1.2")
    throw new CliFailure("usage", `--tls-min-version must be TLSv1.3 or TLSv1.2, not "${tlsMinVersion}"`);
  return { tlsCa: caFile, tlsCert: certFile, tlsKey: certKeyFile, tlsServerName: serverName, tlsMinVersion };
}

/** Where the options and MCPC_KEY lead. Errors: CliFailure `usage` for files that cannot be used. */
export function endpointOf(context: CliContext, options: EndpointOptions): Endpoint {
  const targets = parseTargets(options.target);
  if (targets === undefined) throw new CliFailure("usage", `--target ${targetFault(options.target)}`);
  const wanted = tlsOptionsOf(options);
  const isWanted = Object.values(wanted).some((value) => value !== undefined);
  return { target: options.target, key: readKey(context, options.keyFile), tls: isWanted ? readTls(wanted) : undefined };
}

function readTls(options: TlsOptions): Tls {
  try {
    return openTls(options);
  } catch (thrown) {
    // Translates: an option of a client is a flag here.
    if (!(thrown instanceof CoordinatorError)) throw thrown;
    const words = thrown.fields.map(({ field, description }) => `${isTlsName(field) ? flagOf[field] : field} ${description}`);
    throw new CliFailure("usage", words.join("; "), thrown);
  }
}

const isTlsName = (field: string): field is keyof TlsOptions => Object.hasOwn(flagOf, field);

/** The key in a file, or in MCPC_KEY; undefined without either. Errors: CliFailure `usage` for one that no header can hold. */
export function readKey(context: CliContext, keyFile: string | undefined): string | undefined {
  const fromEnv = context.env.MCPC_KEY;
  if (keyFile === undefined && (fromEnv === undefined || fromEnv === "")) return undefined;
  const [name, text] = keyFile === undefined ? ["MCPC_KEY", fromEnv ?? ""] : [`--key-file ${keyFile}`, readText("--key-file", keyFile)];
  const key = usableKey(text);
  if (key !== undefined && Buffer.byteLength(key) <= limits.keyMaxBytes) return key;
  throw new CliFailure("usage", `${name} holds no key of 1 to ${limits.keyMaxBytes} bytes of printable ASCII`);
}

function readText(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    // Translates: a file that cannot be read is a wrong command line.
    throw new CliFailure("usage", `${flag} ${path} cannot be read`, thrown);
  }
}
