/**
 * `make polyglot`: builds the clients of examples/ for which there are tools, and certifies each, and the TypeScript client, by one scenario.
 * Exit code 1 when one that could be run failed; what was skipped is said with its reason. ONLY=go,java chooses; JSON=1 prints certificates instead.
 */
import { fileURLToPath } from "node:url";
import { formatCertificates } from "./report.js";
import { type Certificate, certify } from "./run.js";
import { readScenario } from "./scenario.js";
import { type Built, buildLanguage, languages, reference } from "./toolchains.js";

/** Builds and runs at once: a run mostly waits, and each has a coordinator and a store of its own. */
const tasksAtOnce = 2;

const scenario = readScenario(fileURLToPath(new URL("scenario.json", import.meta.url)));
const only = (process.env.ONLY ?? "").split(",").filter((name) => name !== "");
const order = ["typescript", ...languages.map(({ name }) => name)];
const waiting = order.filter((name) => only.length === 0 || only.includes(name));
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const skipped: string[] = [];
const failed: string[] = [];
const certificates: Certificate[] = [];
await Promise.all(
  Array.from({ length: tasksAtOnce }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) await judge(name);
  }),
);
certificates.sort((a, b) => order.indexOf(a.client) - order.indexOf(b.client));

if (process.env.JSON === "1") process.stdout.write(`${JSON.stringify({ certificates, skipped, failed }, null, 2)}\n`);
else {
  if (certificates.length > 0) process.stdout.write(formatCertificates(certificates));
  for (const line of skipped) process.stdout.write(`skipped  ${line}\n`);
  for (const line of failed) process.stdout.write(`FAILED   ${line}\n`);
}
process.exitCode = failed.length > 0 || certificates.some(({ passed }) => !passed) ? 1 : 0;

async function judge(name: string): Promise<void> {
  const language = languages.find((one) => one.name === name);
  if (language !== undefined) say(`${name}: building`);
  const built: Built = language === undefined ? { kind: "built", command: reference } : await buildLanguage(language);
  if (built.kind !== "built") {
    (built.kind === "skipped" ? skipped : failed).push(`${name}: ${built.why}`);
    return;
  }
  say(`${name}: playing ${scenario.name}`);
  certificates.push(await certify({ name, command: built.command, without: new Set() }, scenario));
}
