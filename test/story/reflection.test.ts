import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { readImage } from "../../src/rpc/image.js";
import { indexImage } from "../../src/rpc/reflection-index.js";
import { endOf, openGrpcClient } from "../support/grpc-client.js";
import { findGrpcurl, runBufCurl, runGrpcurl } from "../support/grpcurl.js";
import { type RpcPorts, startRpcPorts } from "../support/rpc-ports.js";

const tool = await findGrpcurl();
if (tool.kind === "missing") process.stderr.write(`skipping the grpcurl stories: ${tool.why}\n`);

const servedNames = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "mcp.coordinator.v1.InteractionService",
  "mcp.coordinator.v1.QueryService",
  "mcp.coordinator.v1.RoutingService",
];

let ports: RpcPorts;
beforeAll(async () => {
  ports = await startRpcPorts();
});
afterAll(async () => {
  await ports?.[Symbol.asyncDispose]();
});

/** Asks one version of the service several questions over one stream. */
function ask(typeName: string, questions: readonly ServerReflectionRequest["messageRequest"][]): Promise<ServerReflectionResponse[]> {
  const client = openGrpcClient(ports.grpcAddress);
  return new Promise<ServerReflectionResponse[]>((resolve, reject) => {
    const answers: ServerReflectionResponse[] = [];
    const call = client.makeBidiStreamRequest(
      `/${typeName}/ServerReflectionInfo`,
      (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
      (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes),
    );
    call.on("data", (answer: ServerReflectionResponse) => answers.push(answer));
    call.on("error", reject);
    call.on("end", () => resolve(answers));
    for (const messageRequest of questions) call.write(create(ServerReflectionRequestSchema, { host: "here", messageRequest }));
    call.end();
  }).finally(() => client.close());
}

describe.skipIf(tool.kind === "missing")("with nothing but the port, grpcurl", () => {
  it("lists the services", async () => {
    const result = await runGrpcurl(["-plaintext", ports.grpcAddress, "list"]);
    expect(result.stderr).toBe("");
    expect(result.stdout.trim().split("\n")).toEqual(servedNames);
  });

  it("shows the manual of InteractionService, comments included", async () => {
    const { stdout } = await runGrpcurl(["-plaintext", ports.grpcAddress, "describe", "mcp.coordinator.v1.InteractionService"]);
    expect(stdout).toContain(
      "// One long-lived session. Send Hello first (optional by hand), then events; read acks, weights and notices.",
    );
    expect(stdout).toContain("rpc StreamInteractions ( stream .mcp.coordinator.v1.StreamInteractionsRequest )");
  });

  it("describes every symbol of the image", { timeout: 900_000 }, async () => {
    const symbols = [...indexImage(readImage()).symbols.keys()];
    expect(symbols.length).toBeGreaterThan(500);
    const failures: string[] = [];
    // grpcurl describes one symbol a process; a few processes side by side.
    const pending = symbols.values();
    const worker = async () => {
      for (const symbol of pending) {
        const { code, stderr, stdout } = await runGrpcurl(["-plaintext", ports.grpcAddress, "describe", symbol]);
        // An enum value is described under its enum: google.rpc.OK as google.rpc.Code.OK.
        const name = symbol.slice(symbol.lastIndexOf(".") + 1);
        if (code !== 0 || !new RegExp(`^\\S*\\b${name} is (an?|the) `).test(stdout))
          failures.push(`${symbol}: ${stderr}${stdout.slice(0, 100)}`);
      }
    };
    await Promise.all([worker(), worker(), worker()]);
    expect(failures).toEqual([]);
  });

  it("calls a unary RPC with JSON", async () => {
    const result = await runGrpcurl([
      "-plaintext",
      "-d",
      '{"include_applied":true}',
      ports.grpcAddress,
      "mcp.coordinator.v1.RoutingService/GetRoutes",
    ]);
    expect(result.code, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toEqual({ routes: { version: "7", policyId: "policy-of-test" } });
  });

  it("prints the google.rpc details of a refusal", async () => {
    const args = [
      "-plaintext",
      "-d",
      '{"mcp_id":"ocr","interaction_id":"none"}',
      ports.grpcAddress,
      "mcp.coordinator.v1.InteractionService/GetInteraction",
    ];
    const { code, stderr } = await runGrpcurl(args);
    expect(code).toBe(64 + 5);
    expect(stderr).toContain('"@type": "type.googleapis.com/google.rpc.ErrorInfo"');
    expect(stderr).toContain('"reason": "INTERACTION_NOT_FOUND"');
  });

  it("streams hand-typed JSON lines", async () => {
    const args = ["-plaintext", "-d", "@", ports.grpcAddress, "mcp.coordinator.v1.InteractionService/StreamInteractions"];
    const { code, stdout, stderr } = await runGrpcurl(args, '{"hello":{"mcpId":"demo"}}\n{"event":{"interactionId":"i-2"}}\n');
    expect(code, stderr).toBe(0);
    expect(stdout.match(/"message": "(\w+)"/g)).toEqual(['"message": "hello"', '"message": "event"']);
  });
});

describe("buf curl", () => {
  it("lists and calls over reflection", async () => {
    const listed = await runBufCurl(["--http2-prior-knowledge", "--protocol", "grpc", "--list-methods", `http://${ports.grpcAddress}`]);
    expect(listed.stdout, listed.stderr).toContain("mcp.coordinator.v1.QueryService/ListInteractions");
    const url = `http://${ports.grpcAddress}/mcp.coordinator.v1.RoutingService/GetRoutes`;
    const called = await runBufCurl(["--http2-prior-knowledge", "--protocol", "grpc", "-d", "{}", url]);
    expect(JSON.parse(called.stdout), called.stderr).toEqual({ routes: { version: "7", policyId: "policy-of-test" } });
  });
});

describe.each([ServerReflection.typeName, ServerReflectionAlpha.typeName])("%s", (typeName) => {
  it("lists the services", async () => {
    const [answer] = await ask(typeName, [{ case: "listServices", value: "" }]);
    expect(answer?.messageResponse.case).toBe("listServicesResponse");
    const names =
      answer?.messageResponse.case === "listServicesResponse" ? answer.messageResponse.value.service.map(({ name }) => name) : [];
    expect(names).toEqual(servedNames);
    expect(answer?.originalRequest?.host).toBe("here");
  });

  it("gives for every symbol of the image the file that declares it, with all that it imports", async () => {
    const index = indexImage(readImage());
    const symbols = [...index.symbols];
    const answers = await ask(
      typeName,
      symbols.map(([value]) => ({ case: "fileContainingSymbol" as const, value })),
    );
    expect(answers).toHaveLength(symbols.length);
    for (const [position, [symbol, fileName]] of symbols.entries()) {
      const response = answers[position]?.messageResponse;
      if (response?.case !== "fileDescriptorResponse") throw new Error(`${symbol} has no file`);
      const files = response.value.fileDescriptorProto.map((bytes): FileDescriptorProto => fromBinary(FileDescriptorProtoSchema, bytes));
      const present = new Set(files.map((file) => file.name));
      expect(files[0]?.name).toBe(fileName);
      for (const file of files) for (const dependency of file.dependency) expect(present, `${symbol}`).toContain(dependency);
    }
  });

  it("answers an unknown name with NOT_FOUND and goes on", async () => {
    const answers = await ask(typeName, [
      { case: "fileContainingSymbol", value: "mcp.coordinator.v1.Nothing" },
      { case: "fileByFilename", value: "nothing.proto" },
      { case: "allExtensionNumbersOfType", value: "nothing.Message" },
      {
        case: "fileContainingExtension",
        value: {
          $typeName: "grpc.reflection.v1.ExtensionRequest",
          containingType: "google.protobuf.FieldOptions",
          extensionNumber: 50_000,
        },
      },
      { case: "fileByFilename", value: "google/rpc/error_details.proto" },
      { case: "allExtensionNumbersOfType", value: "google.protobuf.Timestamp" },
    ]);
    expect(
      answers.map((answer) =>
        answer.messageResponse.case === "errorResponse" ? answer.messageResponse.value.errorCode : answer.messageResponse.case,
      ),
    ).toEqual([5, 5, 5, 5, "fileDescriptorResponse", "allExtensionNumbersResponse"]);
  });

  it("ends a stream whose bytes are no request with INVALID_ARGUMENT", async () => {
    const client = openGrpcClient(ports.grpcAddress);
    const call = client.makeBidiStreamRequest(
      `/${typeName}/ServerReflectionInfo`,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
    );
    call.resume();
    call.write(Buffer.from([0xff, 0xff]));
    const end = await new Promise<ReturnType<typeof endOf>>((resolve) => call.on("error", (error) => resolve(endOf(error as never))));
    client.close();
    expect(end.code).toBe(3);
    expect(end.details).toContain("google.rpc.ErrorInfo");
  });
});
