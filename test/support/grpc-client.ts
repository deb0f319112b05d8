import { type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";

/** How a call ended. `reason` and `details` are read from grpc-status-details-bin. */
export type CallEnd = {
  readonly code: number;
  readonly message: string;
  readonly metadata: Metadata;
  /** Type names of the details, in order. */
  readonly details: readonly string[];
  readonly status: MessageShape<typeof StatusSchema> | undefined;
};

/** A plain gRPC client to one address; knows any method by its descriptor. Sends raw bytes too, for hostile requests. */
export function openGrpcClient(address: string): Client {
  return new Client(address, credentials.createInsecure(), {
    "grpc.enable_retries": 0,
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
}

export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Metadata from pairs. */
export function metadataOf(pairs: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(pairs)) metadata.set(name, value);
  return metadata;
}

/** What a status says, details decoded. */
export function endOf(status: StatusObject | ServiceError): CallEnd {
  const [bytes] = status.metadata.get("grpc-status-details-bin");
  const decoded = bytes === undefined ? undefined : fromBinary(StatusSchema, Buffer.from(bytes));
  return {
    code: status.code,
    message: status.details,
    metadata: status.metadata,
    details: (decoded?.details ?? []).map((any) => any.typeUrl.replace("type.googleapis.com/", "")),
    status: decoded,
  };
}

export type UnaryResult<O> = { readonly response: O | undefined; readonly headers: Metadata; readonly end: CallEnd };

/** One unary call with raw request bytes. */
export function callRaw<M extends DescMethod>(
  client: Client,
  method: M,
  request: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<UnaryResult<MessageShape<M["output"]>>> {
  return new Promise((resolve) => {
    let received = new Metadata();
    let response: MessageShape<M["output"]> | undefined;
    const call = client.makeUnaryRequest(
      pathOf(method),
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M["output"]>,
      request,
      metadataOf(headers),
      (_error, value) => {
        response = value;
      },
    );
    call.on("metadata", (metadata: Metadata) => {
      received = metadata;
    });
    call.on("status", (status: StatusObject) => setImmediate(() => resolve({ response, headers: received, end: endOf(status) })));
  });
}

/** One unary call. */
export function callUnary<M extends DescMethod>(
  client: Client,
  method: M,
  request: MessageShape<M["input"]>,
  headers: Readonly<Record<string, string>> = {},
): Promise<UnaryResult<MessageShape<M["output"]>>> {
  return callRaw(client, method, toBinary(method.input, request), headers);
}
