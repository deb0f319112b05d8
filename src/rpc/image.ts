import { readFileSync } from "node:fs";

/**
 * The contract and all it imports, as `make gen` left it: the bytes of a google.protobuf.FileDescriptorSet with comments. Lies in gen/, beside the
 * code that was generated from the same files.
 */
export function readImage(): Uint8Array {
  return readFileSync(new URL("../../gen/image.binpb", import.meta.url));
}
