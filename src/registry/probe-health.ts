import { lookup as resolve } from "node:dns";
import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { type AddressPolicy, isAddressAllowed } from "./address-policy.js";

/** What one check found. `why` is for people and says nothing that the MCP did not send or that was not asked. */
export type ProbeResult = { readonly kind: "passed" } | { readonly kind: "failed"; readonly why: string };

export type ProbeDeps = {
  readonly policy: AddressPolicy;
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "after">;
};

type Answer = { readonly status: number; readonly location: string | undefined };

/**
 * Asks a health endpoint once, redirects on its own origin included: an answer of 200 to 299 in time has passed. Never rejects.
 * Addresses are judged when the connection is made, and the one that was judged is the one that is connected to: a name that means another address by then
 * does not help anyone. Each check has a connection of its own.
 */
export async function probeHealth(deps: ProbeDeps, url: URL): Promise<ProbeResult> {
  let current = url;
  const late = new AbortController();
  const cancel = deps.clock.after(deps.timeoutMs, () => late.abort());
  try {
    for (let redirects = 0; redirects <= limits.healthRedirectsMax; redirects++) {
      const answer = await ask(deps.policy, current, late.signal);
      if (answer.status >= 200 && answer.status < 300) return { kind: "passed" };
      if (answer.status < 300 || answer.status >= 400 || answer.location === undefined) return failed(`answered ${answer.status}`);
      const next = URL.canParse(answer.location, current.href) ? new URL(answer.location, current) : undefined;
      if (next === undefined || next.origin !== url.origin)
        return failed(`answered ${answer.status}, a redirect to another host, which is not followed`);
      current = next;
    }
    return failed(`redirected more than ${limits.healthRedirectsMax} times`);
  } catch (thrown) {
    // Translates: whatever keeps an answer from coming is what the check has found.
    if (late.signal.aborted) return failed(`no answer within ${deps.timeoutMs} ms`);
    return failed(describe(thrown));
  } finally {
    cancel();
  }
}

function failed(why: string): ProbeResult {
  return { kind: "failed", why };
}

/** Errors: AddressRefused, and those of Node's sockets. */
function ask(policy: AddressPolicy, url: URL, signal: AbortSignal): Promise<Answer> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // A host that is an address is never looked up.
  if (isIP(host) !== 0 && !isAddressAllowed(policy, host)) return Promise.reject(new AddressRefused(host));
  return new Promise((resolveAnswer, reject) => {
    const options = { agent: false, signal, lookup: guardedLookup(policy), headers: { accept: "*/*", "user-agent": "mcp-coordinator" } };
    const request: ClientRequest = (url.protocol === "https:" ? requestHttps : requestHttp)(url, options, (response) => {
      void readAnswer(response).then(resolveAnswer, reject);
    });
    request.on("error", reject);
    request.end();
  });
}

/** The status is what counts; a body that goes on is cut. */
async function readAnswer(response: IncomingMessage): Promise<Answer> {
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).byteLength; // a response without an encoding gives buffers
    if (bytes > limits.healthBodyMaxBytes) break; // which destroys it
  }
  return { status: response.statusCode ?? 0, location: response.headers.location };
}

/** An address that the policy does not admit. */
class AddressRefused extends Error {
  override readonly name = "AddressRefused";

  constructor(address: string) {
    super(`${address} is not an address that registry.health_check_addresses admits`);
  }
}

/** Resolves a name and gives the addresses that the policy admits. */
function guardedLookup(policy: AddressPolicy): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const admitted = addresses.filter(({ address }) => isAddressAllowed(policy, address));
      const [first] = admitted;
      if (first === undefined) return callback(new AddressRefused(addresses[0]?.address ?? hostname), []);
      if (options.all === true) callback(null, admitted);
      else callback(null, first.address, first.family);
    });
  };
}

function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return "could not be asked";
  const code = "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
  return thrown instanceof AddressRefused ? thrown.message : `could not be asked: ${code ?? thrown.message.slice(0, limits.idMaxBytes)}`;
}
