import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { status } from "@grpc/grpc-js";
import { type StreamInteractionsRequest, StreamInteractionsResponseSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { startStreamServer } from "./stream-server.js";

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
  const { port, stop } = await startStreamServer((stream, index) => {
    const call: ScriptedCall = {
      index,
      send: (frame) => stream.write(create(StreamInteractionsResponseSchema, frame === undefined ? {} : { frame })),
      end: () => stream.end(),
      fail: (code, details) => stream.emit("error", { code, details }),
    };
    stream.on("data", (request: StreamInteractionsRequest) => script(call, request.frame));
    stream.on("end", () => script(call, undefined));
    stream.on("error", () => undefined);
  });
  return { target: `127.0.0.1:${port}`, stop };
}
