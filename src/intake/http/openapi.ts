import { STATUS_CODES } from "node:http";
import { z } from "zod";
import type { Json } from "../../interaction/event.js";
import type { JsonObject } from "./call.js";
import type { Route } from "./routes.js";

/** The OpenAPI 3.1 document of the HTTP API, made of the schemas that its routes have. Source: spec.openapis.org/oas/v3.1.1. */
export function openApiDocument(routes: readonly Route[]): JsonObject {
  const paths: Record<string, JsonObject> = {};
  for (const route of routes) paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(route) };
  return {
    openapi: "3.1.0",
    info: {
      title: "MCPCoordinator Interaction API",
      description: "Receives and serves the interaction events of MCPs. Every answer but this document has one envelope.",
      version: "2.0.0",
    },
    paths,
    components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
  };
}

function operationOf(route: Route): JsonObject {
  return {
    operationId: route.id,
    summary: route.summary,
    ...(route.deprecated === undefined ? {} : { deprecated: true }),
    security: route.isOpen ? [] : [{ key: [] }],
    ...(route.query === undefined ? {} : { parameters: parametersOf(route.query) }),
    ...(route.body === undefined ? {} : { requestBody: { required: true, content: contentOf(route.body) } }),
    responses: Object.fromEntries(
      Object.entries(route.answers).map(([status, schema]) => [
        status,
        { description: STATUS_CODES[status] ?? status, content: contentOf(schema) },
      ]),
    ),
  };
}

function contentOf(schema: z.ZodType): JsonObject {
  return { "application/json": { schema: schemaOf(schema) } };
}

function parametersOf(query: z.ZodObject): readonly JsonObject[] {
  return Object.entries<z.ZodType>(query.shape).map(([name, schema]) => ({ name, in: "query", required: false, schema: schemaOf(schema) }));
}

function schemaOf(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { target: "draft-2020-12", io: "input" });
  return rest as JsonObject; // a JSON Schema is JSON
}
