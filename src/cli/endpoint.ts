import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { Endpoint } from "../client/connect.js";
import { limits } from "../platform/limits.js";
import { CliFailure } from "./exit-code.js";
import type { CliContext } from "./output.js";

/** Options of every command that talks to a coordinator. */
export type EndpointOptions = { readonly target: string; readonly keyFile?: string; readonly caFile?: string };

/** Adds `--target`, `--key-file` and `--ca-file`. */
export function addEndpointFlags(command: Command): Command {
  return command
    .option("--target <host:port>", "the coordinator's gRPC port; streams take several, with commas between", "localhost:50051")
    .option("--key-file <file>", "file with the API key; otherwise MCPC_KEY")
    .option("--ca-file <file>", "PEM of the authorities to trust: speaks TLS, to a proxy in front of the coordinator");
}

/** Where the options and MCPC_KEY lead. Errors: CliFailure `usage` for files that cannot be used. */
export function endpointOf(context: CliContext, options: EndpointOptions): Endpoint {
  const caPem = options.caFile === undefined ? undefined : readText("--ca-file", options.caFile);
  if (caPem !== undefined && !caPem.includes("-----BEGIN CERTIFICATE-----")) {
    throw new CliFailure("usage", `--ca-file ${options.caFile} holds no certificate in PEM`);
  }
  return { target: options.target, key: readKey(context, options.keyFile), caPem };
}

/** The key in a file, or in MCPC_KEY; undefined without either. Errors: CliFailure `usage` for a file that holds none. */
export function readKey(context: CliContext, keyFile: string | undefined): string | undefined {
  const fromEnv = context.env.MCPC_KEY;
  if (keyFile === undefined) return fromEnv === undefined || fromEnv === "" ? undefined : fromEnv;
  const key = readText("--key-file", keyFile).trim();
  if (key !== "" && Buffer.byteLength(key) <= limits.keyMaxBytes) return key;
  throw new CliFailure("usage", `--key-file ${keyFile} holds no key of 1 to ${limits.keyMaxBytes} bytes`);
}

function readText(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    // Translates: a file that cannot be read is a wrong command line.
    throw new CliFailure("usage", `${flag} ${path} cannot be read`, thrown);
  }
}
