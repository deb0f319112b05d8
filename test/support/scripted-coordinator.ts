import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream, type status } from "@grpc/grpc-js";
import {
  InteractionService,
  type StreamInteractionsRequest,
  StreamInteractionsRequestSchema,
  type StreamInteractionsResponse,
  StreamInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";

/** One stream as the script sees it. */
export type ScriptedCall = {
  /** 0 for the first stream that was opened. */
  readonly index: number;
  readonly send: (frame: MessageInitShape<typeof StreamInteractionsResponseSchema>["frame"]) => void;
  readonly end: () => void;
  readonly fail: (code: status, details: string) => void;
};

/** What a hostile or helpful coordinator does with each frame. `undefined` is the client's half-close. */
export type Script = (call: ScriptedCall, frame: StreamInteractionsRequest["frame"] | undefined) => void;

export type ScriptedCoordinator = { readonly target: string; readonly stop: () => void };

/** A real gRPC server on a free port whose only behaviour is the script: for peers that no healthy coordinator would play. */
export async function startScriptedCoordinator(script: Script): Promise<ScriptedCoordinator> {
  const server = new Server({ "grpc.enable_channelz": 0 });
  let opened = 0;
  const play = (stream: ServerDuplexStream<StreamInteractionsRequest, StreamInteractionsResponse>) => {
    const call: ScriptedCall = {
      index: opened++,
      send: (frame) => stream.write(create(StreamInteractionsResponseSchema, frame === undefined ? {} : { frame })),
      end: () => stream.end(),
      fail: (code, details) => stream.emit("error", { code, details }),
    };
    stream.on("data", (request: StreamInteractionsRequest) => script(call, request.frame));
    stream.on("end", () => script(call, undefined));
    stream.on("error", () => undefined);
  };
  server.addService(
    {
      streamInteractions: {
        path: `/${InteractionService.typeName}/StreamInteractions`,
        requestStream: true,
        responseStream: true,
        requestSerialize: (value: StreamInteractionsRequest) => Buffer.from(toBinary(StreamInteractionsRequestSchema, value)),
        requestDeserialize: (bytes: Buffer) => fromBinary(StreamInteractionsRequestSchema, bytes),
        responseSerialize: (value: StreamInteractionsResponse) => Buffer.from(toBinary(StreamInteractionsResponseSchema, value)),
        responseDeserialize: (bytes: Buffer) => fromBinary(StreamInteractionsResponseSchema, bytes),
      },
    },
    { streamInteractions: play },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { target: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}
