import type { Message } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** Bytes of messages that were put together from parts encoded before. As long-lived as the messages. */
const bytesOf = new WeakMap<Message, Uint8Array>();

/** Says how `message` is encoded, so that writing it encodes nothing. It must not be changed any more, and `bytes` must decode to it. */
export function setEncoded(message: Message, bytes: Uint8Array): void {
  bytesOf.set(message, bytes);
}

/** The bytes of a message, when they are known without encoding it. */
export function encodedOf(message: Message): Uint8Array | undefined {
  return bytesOf.get(message);
}

/** A field that holds a message, from parts of that message: a message is the concatenation of its fields.     Source: protobuf.dev, "Encoding". */
export function messageField(fieldNumber: number, parts: readonly Uint8Array[]): Uint8Array {
  const writer = new BinaryWriter().tag(fieldNumber, WireType.LengthDelimited);
  writer.uint32(parts.reduce((sum, part) => sum + part.byteLength, 0));
  for (const part of parts) writer.raw(part);
  return writer.finish();
}
