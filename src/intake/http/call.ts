import type { IncomingMessage } from "node:http";
import type { Principal } from "../../auth/principal.js";
import type { Json } from "../../interaction/event.js";

export type JsonObject = { readonly [key: string]: Json };

/** One request to the HTTP API. */
export type HttpCall = {
  readonly raw: IncomingMessage;
  readonly query: URLSearchParams;
  readonly requestId: string;
  /** Who calls. `anyone` on routes that ask nobody. */
  readonly principal: Principal;
  /** The body of a route that takes one, as parsed; undefined on others. */
  readonly body: unknown;
  /** Aborts when the caller has gone or the coordinator stops. */
  readonly signal: AbortSignal;
};

/** What a route answers; `envelope.ts` puts the rest around it. */
export type Answer = {
  readonly status: number;
  /** One sentence for people. */
  readonly message: string;
  readonly data: JsonObject;
  /** Members of `data` that documented clients read at the top. */
  readonly top?: JsonObject;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the figures were read a moment ago for somebody else. */
  readonly isCacheHit?: boolean;
};

/** What a route does. Throws CoordinatorError. */
export type Serve = (call: HttpCall) => Promise<Answer> | Answer;
