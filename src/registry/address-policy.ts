import { BlockList, isIP } from "node:net";

/** Which addresses checks may connect to; each admits what the one before does. */
export type AddressPolicy = "none" | "public" | "private" | "any";

/** Networks of organisations and of their carriers. Source: IANA's registries of special-purpose addresses; RFC 1918, 6598, 4193. */
const privateNetworks = listOf([
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
  ["fc00::", 7],
]);

/**
 * What is neither private nor public: this host, this link (where clouds answer with credentials), many hosts, and addresses that stand for others and so
 * could name any of these. Source: the same registries.
 */
const specialNetworks = listOf([
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  ["::", 128],
  ["::1", 128],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
]);

/** Whether an address may be connected to. An IPv4 address in the clothes of IPv6 (::ffff:127.0.0.1) is judged as what it is. */
export function isAddressAllowed(policy: AddressPolicy, address: string): boolean {
  const family = isIP(address) === 4 ? "ipv4" : "ipv6";
  if (policy === "none" || isIP(address) === 0) return false;
  if (policy === "any") return true;
  if (specialNetworks.check(address, family)) return false;
  return policy === "private" || !privateNetworks.check(address, family);
}

function listOf(networks: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, isIP(network) === 4 ? "ipv4" : "ipv6");
  return list;
}
