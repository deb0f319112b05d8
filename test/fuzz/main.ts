import { runFuzz } from "./run.js";

/** `make fuzz CASES=1000000 SEED=1`: prints what came of the cases; exits with 1 and the case when one breaks a promise. */
const { CASES = "1000000", SEED = String(Date.now() % 1_000_000) } = process.env;
const cases = Number(CASES);
const seed = Number(SEED);
process.stdout.write(`fuzz: ${cases} cases, SEED=${seed}\n`);
const startedAtMs = performance.now();
const counts = await runFuzz({
  cases,
  seed,
  progress: (done) => {
    const perSecond = Math.round((done / (performance.now() - startedAtMs)) * 1000);
    const mebibytes = Math.round(process.memoryUsage().rss / 1024 / 1024);
    if (done % 1_000_000 === 0) process.stdout.write(`${done} cases, ${perSecond}/s, rss ${mebibytes} MiB\n`);
  },
});
const seconds = (performance.now() - startedAtMs) / 1000;
process.stdout.write(`${cases} cases in ${seconds.toFixed(1)} s, ${Math.round(cases / seconds)}/s: ${JSON.stringify(counts)}\n`);
