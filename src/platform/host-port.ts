import { isIPv6 } from "node:net";

/** "127.0.0.1:8080", with brackets around an IPv6 address. Source: RFC 3986, 3.2.2. */
export const hostPort = (host: string, port: number): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`;
