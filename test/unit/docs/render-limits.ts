import { readFileSync } from "node:fs";
import { settings } from "../../../src/config/settings.js";
import { limits } from "../../../src/platform/limits.js";

/** One bound with what its source says about it. */
type Bound = { readonly name: string; readonly value: unknown; readonly comment: string };

/** docs/limits.md. Values come from the running code, comments from its source. */
export function renderLimitsDoc(source: string = readFileSync("src/platform/limits.ts", "utf8")): string {
  const rows = readBounds(source).map(
    ({ name, value, comment }) => `| \`${name}\` | ${showValue(name, value)} | ${comment.replaceAll("|", "\\|")} |`,
  );
  const settable = settings
    .filter(({ kind }) => kind === "number")
    .map(({ tomlPath, fallback, unit, doc }) => `| \`${tomlPath}\` | ${String(fallback)} | ${unit ?? ""} | ${doc} |`);
  return `${[
    "# Limits",
    "",
    "Written by the tests from `src/platform/limits.ts` and `src/config/schema.ts`; change it there.",
    "",
    "## Fixed",
    "",
    "The unit is in the name: `Ms` milliseconds, `Bytes`, `Days`, `Rows`; a `Count` or a plain plural is a number of things.",
    "",
    "| name | value | meaning and reason |",
    "|---|---|---|",
    ...rows,
    "",
    "## Settable",
    "",
    "| setting | default | unit | meaning |",
    "|---|---|---|---|",
    ...settable,
  ].join("\n")}\n`;
}

/** The bounds in the order of their source, each with the comment above it; one without a comment belongs to the bound before it. */
export function readBounds(source: string): readonly Bound[] {
  return Object.entries<unknown>(limits).map(([name, value]) => {
    const found = new RegExp(`(?:/\\*\\*((?:[^*]|\\*(?!/))*)\\*/\\s*)?\\b${name}:`).exec(source);
    const comment = (found?.[1] ?? "").replaceAll(/\s*\n\s*\*\s?/g, " ").trim();
    return { name, value, comment };
  });
}

function showValue(name: string, value: unknown): string {
  if (typeof value !== "number") return `\`${JSON.stringify(value)}\``;
  if (name.endsWith("Bytes") && value >= 1024 && value % 1024 === 0) {
    return value % (1024 * 1024) === 0 ? `${value / (1024 * 1024)} MiB` : `${value / 1024} KiB`;
  }
  return value.toLocaleString("en-US").replaceAll(",", " ");
}
