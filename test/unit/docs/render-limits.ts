import { readFileSync } from "node:fs";
import { settings } from "../../../src/config/settings.js";
import { limits } from "../../../src/platform/limits.js";
import { limitEffects, settingEffects } from "./limit-effects.js";

/** One bound with what its source says about it. */
type Bound = { readonly name: keyof typeof limits; readonly value: unknown; readonly comment: string };

/** The files in which bounds stand. */
export const limitsSource = (): string =>
  ["src/platform/limits.ts", "src/platform/reporter-limits.ts", "src/platform/redis-limits.ts", "src/platform/router-limits.ts"]
    .map((path) => readFileSync(path, "utf8"))
    .join("\n");

/** docs/limits.md. Values come from the running code, reasons from the comments of its source, the rest from limit-effects.ts. */
export function renderLimitsDoc(source: string = limitsSource()): string {
  const rows = readBounds(source).map(({ name, value, comment }) => {
    const { unit, reached, why } = limitEffects[name];
    // The unit stands beside the value already.
    const reason = (why ?? comment).replace(` Unit: ${unit}.`, "");
    return `| \`${name}\` | ${showValue(unit, value)} | ${cell(reason)} | ${cell(reached)} |`;
  });
  const settable = settings
    .filter(({ kind }) => kind === "number")
    .map(
      ({ tomlPath, fallback, unit, doc }) =>
        `| \`${tomlPath}\` | ${[String(fallback), unit ?? ""].join(" ").trim()} | ${cell(doc)} | ${cell(settingEffects[tomlPath] ?? "")} |`,
    );
  return `${[
    "# Limits",
    "",
    "Written by the tests from `src/platform/limits.ts` and the files that it is put together from, `src/config/schema.ts` and `test/unit/docs/limit-effects.ts`; change it there.",
    "",
    "Everything that grows with what others send has a bound. Reaching one never loses what was acknowledged.",
    "",
    "## Fixed",
    "",
    "| name | value | why | what the peer sees when it is reached |",
    "|---|---|---|---|",
    ...rows,
    "",
    "## Settable",
    "",
    "| setting | default | meaning | what the peer sees when it is reached |",
    "|---|---|---|---|",
    ...settable,
  ].join("\n")}\n`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** The bounds in the order of their source, each with the comment above it; one without a comment belongs to the bound before it. */
export function readBounds(source: string): readonly Bound[] {
  // Object.keys gives strings; these are the keys of the object it was given.
  return (Object.keys(limits) as (keyof typeof limits)[]).map((name) => {
    const value: unknown = limits[name];
    const found = new RegExp(`(?:/\\*\\*((?:[^*]|\\*(?!/))*)\\*/\\s*)?\\b${name}:`).exec(source);
    const comment = (found?.[1] ?? "")
      .replaceAll(/\s*\n\s*\*\s?/g, " ")
      .replaceAll(/ {2,}/g, " ")
      .trim();
    return { name, value, comment };
  });
}

/** "4 MiB", "5 s", "50 and 2 000 ms, first and longest": as short as it stays exact. */
function showValue(unit: string, value: unknown): string {
  if (typeof value === "object" && value !== null) return `${Object.values(value).map(grouped).join(" and ")} ${unit}`;
  const number = Number(value);
  if (unit === "bytes" && number >= 1024 && number % 1024 === 0) {
    return number % (1024 * 1024) === 0 ? `${number / (1024 * 1024)} MiB` : `${number / 1024} KiB`;
  }
  if (unit === "ms" && number >= 172_800_000 && number % 86_400_000 === 0) return `${number / 86_400_000} days`;
  if (unit === "ms" && number >= 7_200_000 && number % 3_600_000 === 0) return `${number / 3_600_000} h`;
  if (unit === "ms" && number >= 60_000 && number % 60_000 === 0) return `${grouped(number / 60_000)} min`;
  if (unit === "ms" && number >= 1_000 && number % 1_000 === 0) return `${number / 1_000} s`;
  return `${grouped(number)} ${unit}`;
}

function grouped(value: unknown): string {
  return Number(value).toLocaleString("en-US").replaceAll(",", " ");
}
