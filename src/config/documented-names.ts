import path from "node:path";

/** A name of the specification that is not ours: it stands for a setting, or has no effect here. */
export type DocumentedName =
  | { readonly kind: "stands_for"; readonly path: string; readonly convert?: (value: unknown) => unknown; readonly warning?: string }
  | { readonly kind: "idle"; readonly why: string };

const noKeyCache: DocumentedName = {
  kind: "idle",
  why: "has no effect: no key is cached: expiry counts at once, and a change of the keys when the file is read again",
};
const maxRecords: DocumentedName = { kind: "stands_for", path: "store.maxRecords" };
const cleanupInterval: DocumentedName = { kind: "stands_for", path: "store.maintenanceIntervalSeconds" };
const masterSecret: DocumentedName = { kind: "stands_for", path: "security.pseudonymKey" };

/** By TOML path. The sample file and the Python sample of the interaction management document load with these; docs/config.md lists them. */
export const documentedNames: Readonly<Record<string, DocumentedName>> = {
  "interaction_logging.database_path": {
    kind: "stands_for",
    path: "store.dataDir",
    convert: (value) => (typeof value === "string" && value !== "" ? path.dirname(value) : value),
    warning: "the embedded store is a directory: the one that this file is in is used",
  },
  "interaction_logging.max_records": maxRecords,
  "interaction_logging.cleanup_interval": cleanupInterval,
  "interaction_logging.api_key_cache_ttl": noKeyCache,
  "security.master_secret": masterSecret,
  "api.host": { kind: "stands_for", path: "server.host" },
  "api.port": { kind: "stands_for", path: "server.webPort" },
  "api.workers": {
    kind: "idle",
    why: "has no effect: one process serves all its connections; for more, start more coordinators on one database",
  },
  "logging.format": { kind: "idle", why: "has no effect: a log line is one JSON object" },
  data_directory: { kind: "stands_for", path: "store.dataDir" },
  max_interaction_records: maxRecords,
  cleanup_interval: cleanupInterval,
  api_key_cache_ttl: noKeyCache,
  master_secret: masterSecret,
};
