/** Bytes in one of each unit. The decimal ones are those of the documents ("1GB"); the binary ones are those of Kubernetes and of Linux. */
const unitBytes: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** What a quantity comes to, or the rule that its text breaks. */
export type Quantity = { readonly kind: "value"; readonly value: number } | { readonly kind: "fault"; readonly description: string };

const memoryRule = 'must be a number with a unit of B, KB, MB, GB, TB, KiB, MiB, GiB or TiB, for example "1GB"';
const cpuRule = 'must be a number of cores, for example "2 cores" or "0.5", or thousandths, for example "500m"';

/** Memory.     Units: whole bytes, rounded up; at most 2^53 - 1. The case of the unit does not matter; a bare number has none and is refused. */
export function parseMemory(text: string): Quantity {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)$/i.exec(text) ?? [];
  const scale = unitBytes[unit.toLowerCase()];
  if (scale === undefined) return { kind: "fault", description: memoryRule };
  const value = Math.ceil(Number(digits) * scale);
  if (value <= 0 || !Number.isSafeInteger(value)) return { kind: "fault", description: `${memoryRule}; above 0 and below 2^53 bytes` };
  return { kind: "value", value };
}

/** Processor time.     Units: cores; at most 1,000,000. */
export function parseCpu(text: string): Quantity {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*(m|cores?)?$/i.exec(text) ?? [];
  if (digits === "") return { kind: "fault", description: cpuRule };
  const value = unit.toLowerCase() === "m" ? Number(digits) / 1_000 : Number(digits);
  if (!(value > 0 && value <= 1_000_000)) return { kind: "fault", description: `${cpuRule}; above 0 and at most 1,000,000 cores` };
  return { kind: "value", value };
}
