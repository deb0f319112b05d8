import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { ClientReadableStream, StatusObject } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  RegistryService,
  WatchMcpsRequestSchema,
  type WatchMcpsResponse,
  WatchMcpsResponseSchema,
} from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { type CallEnd, callUnary, endOf, metadataOf, openGrpcClient, pathOf } from "./grpc-client.js";

type Methods = typeof RegistryService.method;
type UnaryName = Exclude<keyof Methods, "watchMcps">;

/** What a refusal says to programs. */
export type Refusal = {
  readonly code: number;
  readonly reason: string;
  readonly fields: readonly string[];
  readonly metadata: Record<string, string>;
};

/** A stranger that calls RegistryService with generated code. */
export class RegistryClient implements Disposable {
  readonly #client: ReturnType<typeof openGrpcClient>;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(target: string, key = "") {
    this.#client = openGrpcClient(target);
    this.#headers = key === "" ? {} : { authorization: `Bearer ${key}` };
  }

  /** The answer. Errors: with what the refusal says. */
  async call<N extends UnaryName>(name: N, request: MessageInitShape<Methods[N]["input"]>) {
    const { response, end } = await this.#send(name, request);
    if (response === undefined) throw new Error(`${name} was refused: ${end.code} ${end.message}`);
    return response;
  }

  /** What the refusal says. Errors: when it is none. */
  async refused<N extends UnaryName>(name: N, request: MessageInitShape<Methods[N]["input"]>): Promise<Refusal> {
    const { end } = await this.#send(name, request);
    if (end.code === 0) throw new Error(`${name} was not refused`);
    return refusalOf(end);
  }

  watch(request: MessageInitShape<typeof WatchMcpsRequestSchema>): WatchReader {
    return new WatchReader(
      this.#client.makeServerStreamRequest(
        pathOf(RegistryService.method.watchMcps),
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => fromBinary(WatchMcpsResponseSchema, bytes),
        toBinary(WatchMcpsRequestSchema, create(WatchMcpsRequestSchema, request)),
        metadataOf(this.#headers),
      ),
    );
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #send<N extends UnaryName>(name: N, request: MessageInitShape<Methods[N]["input"]>) {
    const method: Methods[N] = RegistryService.method[name];
    return callUnary(this.#client, method, create(method.input, request) as never, this.#headers); // by Methods[N]
  }
}

/** One watch, message by message. */
export class WatchReader {
  readonly messages: WatchMcpsResponse[] = [];
  readonly ended: Promise<CallEnd>;
  readonly #call: ClientReadableStream<WatchMcpsResponse>;
  readonly #waiting = new Set<() => void>();

  constructor(call: ClientReadableStream<WatchMcpsResponse>) {
    this.#call = call;
    this.ended = new Promise((resolve) => call.once("status", (status: StatusObject) => resolve(endOf(status))));
    call.on("data", (message: WatchMcpsResponse) => {
      this.messages.push(message);
      for (const check of [...this.#waiting]) check();
    });
    call.on("error", () => {}); // `ended` tells the status
  }

  /** Everything that came so far as "mcp_id STATE", in order. */
  get seen(): readonly string[] {
    return this.messages.flatMap(({ mcps }) => mcps.map(({ mcpId, leaseState }) => `${mcpId} ${leaseState}`));
  }

  /** Resolves once `isThere` holds. */
  until(isThere: (messages: readonly WatchMcpsResponse[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!isThere(this.messages)) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }

  cancel(): void {
    this.#call.cancel();
  }
}

/** What an end says to programs. */
export function refusalOf(end: CallEnd): Refusal {
  let reason = "";
  let metadata: Record<string, string> = {};
  let fields: readonly string[] = [];
  for (const { typeUrl, value } of end.status?.details ?? []) {
    if (typeUrl.endsWith(ErrorInfoSchema.typeName)) ({ reason, metadata } = fromBinary(ErrorInfoSchema, value));
    if (typeUrl.endsWith(BadRequestSchema.typeName)) fields = fromBinary(BadRequestSchema, value).fieldViolations.map(({ field }) => field);
  }
  return { code: end.code, reason, fields, metadata };
}
