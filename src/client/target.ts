import { isIPv6 } from "node:net";

/** A gRPC port as it was named. `isSecure` is undefined where the name does not say: then TLS is spoken when there are settings for it. */
export type Target = { readonly address: string; readonly isSecure: boolean | undefined };

/** Ports that a scheme means when none is named. Source: RFC 9110, 4.2. */
const schemePorts = { "https:": "443", "http:": "80" } as const;
/** The customary port of gRPC, and our default. */
const defaultPort = 50_051;

/**
 * Reads "host:port", "https://host:port" for TLS, "http://host:port" for plain text, or several with commas between.
 * Gives undefined when one of them is no target: a scheme that is not known, a path behind the port, an empty name, an IPv6 address without brackets.
 */
export function parseTargets(text: string): readonly [Target, ...Target[]] | undefined {
  const [first, ...rest] = text.split(",").map((one) => parseTarget(one.trim()));
  if (first === undefined) return undefined;
  const known = rest.filter((target) => target !== undefined);
  return known.length === rest.length ? [first, ...known] : undefined;
}

/** What is wrong with a text that `parseTargets` gives undefined for, in words that follow its name. */
export function targetFault(text: string): string {
  const bare = text.split(",").map((one) => one.trim());
  const meant = bare.map((one) => bracketed(one)).find((one) => one !== undefined);
  if (meant === undefined) return `must be host:port or https://host:port, not "${text}"`;
  return `must have brackets around an IPv6 address: ${meant}, not "${text}"`;
}

/** "::1:1" → "[::1]:1": an IPv6 address without brackets, of which nobody can tell whether its last number is a port. Undefined for any other text. */
function bracketed(text: string): string | undefined {
  const cut = text.lastIndexOf(":");
  const [host, port] = [text.slice(0, Math.max(0, cut)), text.slice(cut + 1)];
  if (isIPv6(host) && /^\d{1,5}$/.test(port)) return `[${host}]:${port}`;
  return isIPv6(text) ? `[${text}]:${defaultPort}` : undefined;
}

function parseTarget(text: string): Target | undefined {
  if (text === "" || bracketed(text) !== undefined) return undefined;
  const scheme = /^(https?:)\/\//i.exec(text)?.[1]?.toLowerCase();
  // Without one of these two it is gRPC's own business: "host:port", "dns:///host:port", "unix:/path".
  if (scheme !== "https:" && scheme !== "http:") return { address: text, isSecure: undefined };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.pathname.length > 1 || url.search !== "" || url.username !== "") return undefined;
  return { address: `${url.hostname}:${url.port === "" ? schemePorts[scheme] : url.port}`, isSecure: scheme === "https:" };
}
