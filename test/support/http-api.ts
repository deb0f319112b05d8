import { createHash } from "node:crypto";
import { expect } from "vitest";
import { z } from "zod";

/** An answer of the HTTP API, with its body parsed. */
export type ApiAnswer = {
  readonly status: number;
  readonly headers: Headers;
  /** `stats` is there where the document says so. */
  readonly body: Readonly<Record<string, unknown>> & {
    readonly data: Readonly<Record<string, unknown>>;
    readonly stats: Readonly<Record<string, number>>;
  };
};

export type ApiRequest = {
  readonly key?: string | undefined;
  /** Sent as JSON unless it is text or bytes already. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
};

type Document = { readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> };
type Operation = {
  readonly responses: Readonly<
    Record<string, { readonly content: { readonly "application/json": { readonly schema: Parameters<typeof z.fromJSONSchema>[0] } } }>
  >;
};

/** A caller of the HTTP API that holds every answer against the OpenAPI document of the server that gave it. */
export class ApiCaller {
  readonly #url: string;
  readonly #document: Document;

  private constructor(url: string, document: Document) {
    this.#url = url;
    this.#document = document;
  }

  static async open(url: string): Promise<ApiCaller> {
    const response = await fetch(`${url}/api/v2/openapi.json`);
    return new ApiCaller(url, (await response.json()) as Document);
  }

  /** `path` may have a query. Fails the test when the answer is not one that the document has. */
  async ask(path: string, request: ApiRequest = {}): Promise<ApiAnswer> {
    const { key, body } = request;
    const method = request.method ?? (body === undefined ? "GET" : "POST");
    const isReady = body === undefined || typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(this.#url + path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...request.headers,
      },
      ...(body === undefined ? {} : { body: isReady ? body : JSON.stringify(body) }),
    });
    const parsed = (await response.json()) as ApiAnswer["body"];
    this.#check(path, method, response.status, parsed);
    return { status: response.status, headers: response.headers, body: parsed };
  }

  #check(path: string, method: string, status: number, body: unknown): void {
    const byMethod = this.#document.paths[path.split("?", 1)[0] ?? ""];
    if (byMethod === undefined) {
      expect(status).toBe(404);
      return;
    }
    // A wrong method has no operation of its own: its answer is like that of the path's.
    const operation = byMethod[method.toLowerCase()] ?? Object.values(byMethod)[0];
    const schema = operation?.responses[String(status)]?.content["application/json"].schema;
    if (schema === undefined) throw new Error(`the document has no ${status} for ${method} ${path}: ${JSON.stringify(body)}`);
    const judged = z.fromJSONSchema(schema).safeParse(body);
    if (!judged.success)
      throw new Error(`${method} ${path} answered ${JSON.stringify(body)}, which is not as documented: ${judged.error.message}`);
  }
}

/** A TOML table of a static key. */
export function keyTable(id: string, mcpId: string, key: string): string {
  return `[[auth.keys]]\nid = "${id}"\nmcp_id = "${mcpId}"\nsha256 = "${createHash("sha256").update(key).digest("hex")}"\n`;
}
