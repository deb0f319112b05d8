import { create } from "@bufbuild/protobuf";
import { ApplyStatus, RoutingRejection, type RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import {
  GetRoutesRequestSchema,
  type ProducerRoutes,
  RoutingService,
  type WeightPlane,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { ClientRoutes } from "../../src/client/routes.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { RawStream } from "../support/raw-stream.js";

/** A table that a client put in force. */
export type Applied = { readonly term: number; readonly version: number; readonly digest: string };

/** An MCP of ours that takes tables and remembers each one that it applied. */
export class WatchingMcp implements AsyncDisposable {
  readonly mcpId: string;
  readonly applied: Applied[] = [];
  readonly session: StreamSession;
  /** Resolve with the first table for which they hold. */
  readonly #waiting = new Set<(routes: ClientRoutes) => void>();

  constructor(target: string, mcpId: string, producerId: string) {
    this.mcpId = mcpId;
    this.session = createStreamSession({
      ...{ endpoint: { target, key: undefined }, mcpId, producerId, closeMaxMs: 2_000 },
      onRoutes: (routes) => {
        if (routes === undefined) return;
        this.applied.push({
          term: Number(routes.term),
          version: Number(routes.version),
          digest: routes.digest.toString(16).padStart(16, "0"),
        });
        for (const check of [...this.#waiting]) check(routes);
      },
    });
  }

  /** Resolves with the moment at which a table holds for which `holds` is true, now or later. Unit: ms of `performance.now`. */
  async until(holds: (routes: ClientRoutes) => boolean): Promise<number> {
    const { routes } = this.session;
    if (routes !== undefined && holds(routes)) return performance.now();
    return new Promise((resolve) => {
      const check = (found: ClientRoutes): void => {
        if (!holds(found)) return;
        this.#waiting.delete(check);
        resolve(performance.now());
      };
      this.#waiting.add(check);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }
}

/** What `weightOf` of an MCP is in a table; undefined when it is not in it. */
export function weightIn(routes: ClientRoutes, mcpId: string): number | undefined {
  return routes.routes.find((route) => route.mcpId === mcpId)?.weight;
}

/** A stranger on a raw stream that answers each table in its own way, and remembers the digests it was sent. */
export class StubbornMcp {
  readonly digests: string[] = [];
  readonly #client: ReturnType<typeof openGrpcClient>;
  readonly #stream: RawStream;
  readonly #timers = new Set<NodeJS.Timeout>();
  #seenFrames = 0;

  /** `answer`: "reject" refuses every table for its content at once; a number applies it so many ms later. */
  constructor(target: string, mcpId: string, answer: "reject" | number) {
    this.#client = openGrpcClient(target);
    this.#stream = new RawStream(this.#client);
    this.#stream.send({ case: "hello", value: { mcpId, producerId: `${mcpId}-p`, capabilities: [Capability.ROUTING] } });
    void this.#stream
      .until((frames) => {
        for (const frame of frames.slice(this.#seenFrames)) {
          if (frame.case === "routingUpdate") this.#answer(frame.value, answer);
          if (frame.case === "welcome" && frame.value.routing !== undefined) this.#answer(frame.value.routing, answer);
        }
        this.#seenFrames = frames.length;
        return undefined;
      })
      .catch(() => {}); // the coordinator was killed: a part of the story
  }

  #answer(update: RoutingUpdate, answer: "reject" | number): void {
    const { nonce, term, version, digest } = update;
    this.digests.push(digest.toString(16).padStart(16, "0"));
    if (answer === "reject") {
      const rejected = [{ mcpId: "mcp-0", reason: "no way to reach it from here" }];
      this.#stream.send({
        case: "routingAck",
        value: { nonce, status: ApplyStatus.REJECTED, rejection: RoutingRejection.CONTENT, rejected },
      });
      return;
    }
    const applied = { term, version, digest };
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#stream.send({ case: "routingAck", value: { nonce, status: ApplyStatus.APPLIED, applied } });
    }, answer);
    this.#timers.add(timer);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#stream.cancel();
    this.#client.close();
  }
}

/** How tables reach the streams of a coordinator, and the version of the newest. */
export async function readPlane(
  target: string,
): Promise<{ readonly plane: WeightPlane; readonly version: bigint; readonly applied: readonly ProducerRoutes[] }> {
  const client = openGrpcClient(target);
  try {
    const { response } = await callUnary(client, RoutingService.method.getRoutes, create(GetRoutesRequestSchema, { includeApplied: true }));
    if (response?.plane === undefined) throw new Error("the coordinator told nothing of its streams");
    return { plane: response.plane, version: response.routes?.version ?? 0n, applied: response.applied };
  } finally {
    client.close();
  }
}
