import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import {
  InteractionService,
  type StreamInteractionsRequest,
  StreamInteractionsRequestSchema,
  type StreamInteractionsResponse,
  StreamInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";

/** The server's side of one stream. */
export type ServedStream = ServerDuplexStream<StreamInteractionsRequest, StreamInteractionsResponse>;

export const streamPath = `/${InteractionService.typeName}/StreamInteractions`;

/** A real gRPC server on a free port of loopback that leaves every stream to `serve`, with its index from 0. Errors: when no port is to be had. */
export async function startStreamServer(
  serve: (stream: ServedStream, index: number) => void,
): Promise<{ readonly port: number; readonly stop: () => void }> {
  const server = new Server({ "grpc.enable_channelz": 0 });
  let opened = 0;
  server.addService(
    {
      streamInteractions: {
        path: streamPath,
        requestStream: true,
        responseStream: true,
        requestSerialize: (value: StreamInteractionsRequest) => Buffer.from(toBinary(StreamInteractionsRequestSchema, value)),
        requestDeserialize: (bytes: Buffer) => fromBinary(StreamInteractionsRequestSchema, bytes),
        responseSerialize: (value: StreamInteractionsResponse) => Buffer.from(toBinary(StreamInteractionsResponseSchema, value)),
        responseDeserialize: (bytes: Buffer) => fromBinary(StreamInteractionsResponseSchema, bytes),
      },
    },
    { streamInteractions: (stream: ServedStream) => serve(stream, opened++) },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { port, stop: () => server.forceShutdown() };
}
