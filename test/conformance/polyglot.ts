/**
 * `make polyglot`: builds the clients of examples/ for which there are tools, and certifies each, and the TypeScript client, by one scenario.
 * Exit code 1 when one that could be run failed; what was skipped is said with its reason. ONLY=go,java chooses; JSON=1 prints certificates instead.
 */
import { fileURLToPath } from "node:url";
import { formatCertificates } from "./report.js";
import { type Candidate, type Certificate, certify } from "./run.js";
import { readScenario } from "./scenario.js";
import { buildLanguage, languages, reference } from "./toolchains.js";

/** At once: a run mostly waits, and each has a coordinator and a store of its own. */
const runsAtOnce = 2;

const scenario = readScenario(fileURLToPath(new URL("scenario.json", import.meta.url)));
const only = (process.env.ONLY ?? "").split(",").filter((name) => name !== "");
const isWanted = (name: string): boolean => only.length === 0 || only.includes(name);
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const skipped: string[] = [];
const failed: string[] = [];
const candidates: Candidate[] = isWanted("typescript") ? [{ name: "typescript", command: reference, without: new Set() }] : [];
for (const language of languages.filter(({ name }) => isWanted(name))) {
  say(`${language.name}: building`);
  const built = await buildLanguage(language);
  if (built.kind === "built") candidates.push({ name: language.name, command: built.command, without: new Set() });
  else (built.kind === "skipped" ? skipped : failed).push(`${language.name}: ${built.why}`);
}

const certificates: Certificate[] = [];
const waiting = [...candidates];
await Promise.all(
  Array.from({ length: runsAtOnce }, async () => {
    for (let candidate = waiting.shift(); candidate !== undefined; candidate = waiting.shift()) {
      say(`${candidate.name}: playing ${scenario.name}`);
      certificates.push(await certify(candidate, scenario));
    }
  }),
);
certificates.sort((a, b) => orderOf(a) - orderOf(b));

if (process.env.JSON === "1") process.stdout.write(`${JSON.stringify({ certificates, skipped, failed }, null, 2)}\n`);
else {
  if (certificates.length > 0) process.stdout.write(formatCertificates(certificates));
  for (const line of skipped) process.stdout.write(`skipped  ${line}\n`);
  for (const line of failed) process.stdout.write(`FAILED   ${line}\n`);
}
process.exitCode = failed.length > 0 || certificates.some(({ passed }) => !passed) ? 1 : 0;

function orderOf({ client }: Certificate): number {
  return candidates.findIndex(({ name }) => name === client);
}
