import type { Draw } from "../simulation/draw.js";

/** Bytes that mean something to a decoder: ends of varints, tags of every wire type, UTF-8 that is none, a lone surrogate. */
const tokens: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x80],
  [0x80, 0x80, 0x80, 0x80, 0x08],
  [0x00],
  [0x0a, 0x00],
  [0x0b],
  [0x0c],
  [0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xed, 0xa0, 0x80],
  [0xc0, 0xaf],
  [0xf4, 0x90, 0x80, 0x80],
  [0xa2, 0x06, 0x01, 0x00],
];

/** A frame with a few bytes changed, cut, repeated, moved or mixed with those of another one. */
export function mutate(draw: Draw, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let mutated = bytes;
  for (let i = draw.between(1, 3); i > 0; i -= 1) mutated = mutateOnce(draw, mutated, other);
  return mutated;
}

function mutateOnce(draw: Draw, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const at = draw.below(bytes.length + 1);
  switch (draw.weighted({ flip: 4, set: 3, insert: 3, remove: 2, truncate: 2, repeat: 1, splice: 2, append: 1 })) {
    case "flip":
      return changed(bytes, at, (byte) => byte ^ (1 << draw.below(8)));
    case "set":
      return changed(bytes, at, () => draw.pick([0, 1, 0x7f, 0x80, 0xff, draw.below(256)]));
    case "insert":
      return Buffer.concat([bytes.subarray(0, at), Uint8Array.from(draw.pick(tokens)), bytes.subarray(at)]);
    case "remove":
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + draw.between(1, 4))]);
    case "truncate":
      return bytes.subarray(0, at);
    case "repeat":
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - draw.between(1, 16)))]);
    case "splice":
      return Buffer.concat([bytes.subarray(0, at), other.subarray(draw.below(other.length + 1))]);
    case "append":
      return Buffer.concat([bytes, other]); // protobuf merges the two
  }
}

/** Bytes of no structure at all. */
export function randomBytes(draw: Draw): Uint8Array {
  return Uint8Array.from({ length: draw.pick([0, 1, 2, 8, 64]) + draw.below(8) }, () => draw.below(256));
}

function changed(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const byte = copy[at];
  if (byte !== undefined) copy[at] = change(byte);
  return copy;
}
