import { create } from "@bufbuild/protobuf";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import {
  ErrorResponseSchema,
  ExtensionNumberResponseSchema,
  FileDescriptorResponseSchema,
  ListServiceResponseSchema,
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
  ServiceResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { unreachable } from "../platform/assert.js";
import { errorTable } from "../platform/errors.js";
import { type BidiHandler, type GrpcService, grpcService } from "./adapt-grpc.js";
import type { CallDeps } from "./call.js";
import type { Decoded } from "./grpc-definition.js";
import { drainingError } from "./lifetime.js";
import { indexImage, type ReflectionIndex, withImports } from "./reflection-index.js";
import { toGrpcStatus, undecodableError } from "./status.js";

/** A question and an answer, without the envelope that repeats the question. */
type Question = ServerReflectionRequest["messageRequest"];
type Answer = ServerReflectionResponse["messageResponse"];

/** The full names of both versions of the service, as `grpcurl list` shows them. */
export const reflectionTypeNames: readonly string[] = [ServerReflection.typeName, ServerReflectionAlpha.typeName];

/**
 * The reflection services, v1 and v1alpha, over one image. Unauthenticated: the contract is public. `typeNames` are the services that `list` names;
 * any symbol of the image can be described.
 */
export function reflectionServices(
  deps: Omit<CallDeps, "authenticate">,
  image: Uint8Array,
  typeNames: readonly string[],
): readonly GrpcService[] {
  const index = indexImage(image);
  const serverReflectionInfo = converse(deps, (question) => answerReflection(index, typeNames, question));
  const current = grpcService({ ...deps, authenticate: () => ({ kind: "anyone" }) }, ServerReflection, { serverReflectionInfo });
  return [current, renamed(current, ServerReflectionAlpha.typeName)];
}

/** The same service under another name: the messages of v1alpha have the same bytes as those of v1. */
function renamed(service: GrpcService, typeName: string): GrpcService {
  const entries = Object.entries(service.definition).map(([name, method]) => [name, { ...method, path: `/${typeName}/${name}` }] as const);
  return { ...service, typeName, definition: Object.fromEntries(entries) };
}

/** Answers each question of a stream in turn; the next one is read when the answer has left for the socket. */
function converse(
  deps: Pick<CallDeps, "lifetime">,
  answer: (question: Question) => Answer,
): BidiHandler<ServerReflectionRequest, ServerReflectionResponse> {
  return (call: ServerDuplexStream<Decoded<ServerReflectionRequest>, ServerReflectionResponse>, context) => {
    const { draining } = deps.lifetime;
    const onDrain = () => call.emit("error", toGrpcStatus(drainingError(), context.requestId));
    draining.addEventListener("abort", onDrain, { once: true });
    call.once("cancelled", () => draining.removeEventListener("abort", onDrain));
    call.on("data", (frame: Decoded<ServerReflectionRequest>) => {
      if (frame.kind === "undecodable") {
        call.emit("error", toGrpcStatus(undecodableError(frame), context.requestId));
        return;
      }
      call.pause();
      const request = frame.message;
      const messageResponse = answer(request.messageRequest);
      const response = create(ServerReflectionResponseSchema, { validHost: request.host, originalRequest: request, messageResponse });
      call.write(response, () => call.resume());
    });
    call.once("end", () => call.end());
  };
}

/** The answer to one question. Unknown names are answers too, as the protocol wants it. */
export function answerReflection(index: ReflectionIndex, typeNames: readonly string[], question: Question): Answer {
  switch (question.case) {
    case "listServices":
      return listed(typeNames);
    case "fileByFilename":
      return described(index, index.files.has(question.value) ? question.value : undefined, `file "${question.value}"`);
    case "fileContainingSymbol":
      return described(index, index.symbols.get(question.value.replace(/^\./, "")), `symbol "${question.value}"`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = question.value;
      return described(
        index,
        index.extensions.get(containingType)?.get(extensionNumber),
        `extension ${extensionNumber} of "${containingType}"`,
      );
    }
    case "allExtensionNumbersOfType": {
      if (!index.messages.has(question.value)) return refused("not_found", `no message "${question.value}"`);
      const extensionNumber = [...(index.extensions.get(question.value)?.keys() ?? [])].sort((a, b) => a - b);
      return {
        case: "allExtensionNumbersResponse",
        value: create(ExtensionNumberResponseSchema, { baseTypeName: question.value, extensionNumber }),
      };
    }
    case undefined:
      return refused("invalid", "the request names none of the things that can be asked for");
    default:
      return unreachable(question);
  }
}

function listed(typeNames: readonly string[]): Answer {
  const service = [...typeNames].sort().map((name) => create(ServiceResponseSchema, { name }));
  return { case: "listServicesResponse", value: create(ListServiceResponseSchema, { service }) };
}

function described(index: ReflectionIndex, fileName: string | undefined, what: string): Answer {
  if (fileName === undefined) return refused("not_found", `no ${what}`);
  const fileDescriptorProto = [...withImports(index, fileName)];
  return { case: "fileDescriptorResponse", value: create(FileDescriptorResponseSchema, { fileDescriptorProto }) };
}

function refused(code: "not_found" | "invalid", errorMessage: string): Answer {
  return { case: "errorResponse", value: create(ErrorResponseSchema, { errorCode: errorTable[code].grpc, errorMessage }) };
}
