import { type DocumentedName, documentedNames } from "./documented-names.js";
import { type Setting, settingOf, settings, snakeCase } from "./settings.js";

/** docs/config.md as Markdown. Everything in it that can change comes from the schema; a test holds the file to it. */
export function renderConfigDocs(): string {
  const sections = [...new Set(settings.map(({ section }) => section))];
  return `${[introduction, ...sections.map(renderSection), keys, renderDocumentedNames()].join("\n\n")}\n`;
}

const introduction = `# Configuration

Written by the tests from \`src/config/schema.ts\`; change it there.

A setting is taken from, the later winning:

1. its default;
2. the TOML file that \`--config\` or else \`CONFIG_PATH\` names;
3. the environment: \`MCPC_SECTION__KEY\`, and \`DATABASE_URL\` for the database; an empty variable counts as not set;
4. the flag, for the few settings that have one.

A secret can stand in a file of its own: the variable with \`_FILE\` behind its name gives the path.

Every fault is reported at once, the first hundred with their line, variable or flag, and the coordinator does not start. An unknown key is a fault. A file has at most 1 MiB.
\`mcp-coordinator config check\` reports the same without starting; \`mcp-coordinator config print\` shows every value in force and where it comes from.

Settings are read at start. A file that has changed is read again once it has stood still for two seconds, and SIGHUP reads everything again at once; settings that say so are taken over then,
without a restart: the keys, heartbeat, age and batch size of \`[session]\`, \`routing.weight_policy\` and \`[routing.objectives]\`. The log names what else has changed and waits for a restart.
A faulty file changes nothing: its faults are logged, once. A file is known by what its path leads to, so that a rename over it and the swapped links of a Kubernetes ConfigMap are seen; a single
file that is mounted into a container (\`subPath\`, \`docker -v file:file\`) stays the old one until a restart: mount its directory. \`server.watch_config = false\` leaves it to SIGHUP.`;

const objectives = `### Latency objectives

\`\`\`toml
[routing.objectives]          # request type = milliseconds
ocr = 800
"report.monthly" = 120_000    # a name with other characters than letters, digits, _ and - stands in quotes
\`\`\`

How long an answer to a request of this type may take. A request's own \`deadline\` outranks it; without both, the deadline is the 90th percentile of the request's class.
Types are compared as they stand in \`request_type\`, to the letter. Every coordinator reads its own file: give all of them the same table.`;

const keys = `### Keys

One table for each key. The file holds the key's SHA-256 and not the key; \`mcp-coordinator keys generate --mcp-id X\` makes a key and prints its table.

\`\`\`toml
[[auth.keys]]
id = "ocr-2027"                        # public name, for logs: 1 to 64 of letters, digits and . _ : -
mcp_id = "ocr_workflow_mcp_001"        # the MCP that it may act for; "*" for any
sha256 = "<64 hex digits>"             # or key = "<the key>", which is hashed at start, with a warning
expires_at = 2027-12-31T00:00:00Z      # optional; also seconds since 1970
disabled = false                       # optional
\`\`\`

Expiry is judged at every call. Keys are read at start and again with the file: one that is added counts then, and sessions whose key was taken out, disabled or changed end. Two keys may act for one MCP, so
that one can take over from the other ([operations.md](operations.md#keys)).
The keys and the secret that stand in published documents (\`sk-mcp-ocr-workflow-001\`, \`sk-mcp-data-analysis-001\`, \`sk-mcp-static-key-1\`,
\`your-very-secure-master-secret-key\`) are refused unless \`allow_sample_secrets\` is set, and even then do not count as keys when \`host\` is judged.`;

function renderSection(section: string): string {
  const mine = settings.filter((setting) => setting.section === section);
  const about = section === "routing" ? ["", objectives] : [];
  return [
    `## [${snakeCase(section)}]`,
    "",
    "| key | default | unit | environment | flag | meaning; why this default |",
    "|---|---|---|---|---|---|",
    ...mine.map(renderSetting),
    ...about,
  ].join("\n");
}

function renderSetting(setting: Setting): string {
  const names =
    setting.env === undefined
      ? ""
      : [code(setting.env), ...(setting.path === "store.databaseUrl" ? [code("DATABASE_URL")] : [])].join(", ");
  const cells = [
    code(setting.tomlPath.slice(setting.tomlPath.indexOf(".") + 1)),
    renderDefault(setting),
    setting.unit ?? "",
    setting.isSecret === true ? `${names}; also \`…_FILE\`` : names,
    setting.flag === undefined ? "" : code(setting.flag),
    `${setting.doc}. *${setting.reason}*`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function renderDefault(setting: Setting): string {
  if (setting.defaultText !== undefined) return setting.defaultText;
  return setting.fallback === undefined || setting.kind === "list" || setting.kind === "table"
    ? "none"
    : code(JSON.stringify(setting.fallback));
}

function renderDocumentedNames(): string {
  return [
    "## Names of the specification",
    "",
    "The sample files of the [specification](architecture.md#the-specification) load, but for `expires_at = null`: TOML has no null, so the key is left out.",
    "`[static_api_keys]` holds keys in plain text, one entry each, as it does there. These names are understood besides our own:",
    "",
    "| name | here |",
    "|---|---|",
    ...Object.entries(documentedNames).map(([name, meaning]) => `| ${code(name)} | ${renderMeaning(meaning)} |`),
  ].join("\n");
}

function renderMeaning(meaning: DocumentedName): string {
  if (meaning.kind === "idle") return meaning.why;
  const setting = code(settingOf(meaning.path).tomlPath);
  return meaning.warning === undefined ? setting : `${setting}; ${meaning.warning}`;
}

function code(text: string): string {
  return `\`${text}\``;
}
