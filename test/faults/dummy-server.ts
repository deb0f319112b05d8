// A server that does nothing: dummy-server.ts writes its port as a line, takes whatever HTTP/2 brings, and greets streams with a Welcome. What others feel
// while it is abused is the price of the machine that they share with the abuser, and no fault of a coordinator.
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { StreamInteractionsResponseSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";

const welcome = toBinary(
  StreamInteractionsResponseSchema,
  create(StreamInteractionsResponseSchema, { frame: { case: "welcome", value: {} } }),
);
const head = Buffer.alloc(5);
head.writeUInt32BE(welcome.length, 1);

const server = createServer();
server.on("session", (session) => session.on("error", () => {}));
server.on("stream", (stream: ServerHttp2Stream) => {
  stream.on("error", () => {});
  stream.resume().once("end", () => stream.end());
  stream.respond({ ":status": 200, "content-type": "application/grpc" });
  stream.once("data", () => stream.write(Buffer.concat([head, welcome])));
});
process.stdin.resume().once("close", () => process.exit(0)); // with whoever started it
server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`)); // a TCP server has no other kind of address
