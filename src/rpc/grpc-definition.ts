import { type DescMessage, type DescMethod, type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { assert } from "../platform/assert.js";
import type { ErrorReason } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { encodedOf } from "../wire/encoded.js";

/**
 * One received message, or what is known of bytes that are not one. grpc-js turns an exception of a deserializer into INTERNAL without details, and
 * the call never sees it; this way whoever owns the call answers.
 */
export type Decoded<T> =
  | {
      readonly kind: "message";
      readonly message: T;
      /** Length of the encoded message. */
      readonly bytes: number;
    }
  | {
      readonly kind: "undecodable";
      readonly reason: Extract<ErrorReason, "UNDECODABLE_FRAME" | "NESTED_TOO_DEEP">;
      /** What the decoder said; names types and positions, never content. */
      readonly error: string;
      /** The first `limits.undecodableHeadBytes` bytes, for the log. */
      readonly head: Uint8Array;
      readonly bytes: number;
    };

/** A service as grpc-js registers it, with the types of its requests erased as grpc-js erases them. */
export type GrpcDefinition = ServiceDefinition;

/** How deep a received message may nest; the same for binary and JSON. */
export const decodeOptions = { recursionLimit: limits.decodeMaxDepth } as const;

/** Reads one message. Never throws for what a peer sent. */
export function decodeFrame<D extends DescMessage>(schema: D, bytes: Uint8Array): Decoded<MessageShape<D>> {
  try {
    return { kind: "message", message: fromBinary(schema, bytes, decodeOptions), bytes: bytes.byteLength };
  } catch (thrown) {
    // Translates: the decoder's error becomes a value, for the owner of the call to refuse.
    const error = thrown instanceof Error ? thrown.message : String(thrown);
    const reason = error.includes("recursion depth") ? "NESTED_TOO_DEEP" : "UNDECODABLE_FRAME";
    const head = Uint8Array.from(bytes.subarray(0, limits.undecodableHeadBytes)); // a copy, so that the whole buffer may be freed
    return { kind: "undecodable", reason, error, head, bytes: bytes.byteLength };
  }
}

/** A service of the contract as grpc-js registers it. Every request arrives as `Decoded`; responses are plain messages. */
export function grpcDefinition(service: DescService): GrpcDefinition {
  const methods: Record<string, MethodDefinition<unknown, unknown>> = {};
  for (const method of service.methods) methods[method.name] = grpcMethod(service, method);
  return methods;
}

function grpcMethod(service: DescService, method: DescMethod): MethodDefinition<unknown, unknown> {
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: (value) => encode(method.input, value),
    requestDeserialize: (bytes) => decodeFrame(method.input, bytes),
    responseSerialize: (value) => encode(method.output, value),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes, decodeOptions),
    originalName: method.localName,
  };
}

/** grpc-js copies the result with Buffer's own methods, so a Buffer over the same memory it is. */
function encode(schema: DescMessage, value: unknown): Buffer {
  assert(typeof value === "object" && value !== null && "$typeName" in value, `a ${schema.typeName} is a message`);
  const message = value as MessageShape<DescMessage>; // asserted above; toBinary itself compares $typeName
  const bytes = encodedOf(message) ?? toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
