import { AckMode, Capability, ResumeStatus } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { msOf } from "../../src/client/wire/time.js";
import type { Finding, RunFacts } from "./facts.js";
import { mcpId } from "./material.js";
import { Progress } from "./progress.js";
import { seenOf } from "./record.js";

const promised = [Capability.HEARTBEAT, Capability.FLOW_CONTROL, Capability.ROUTING, Capability.DRAIN];
const timerSlackMs = 60;
/** What a busy machine may add to a second. */
const busyMs = 5_000;
/** Time after which a verdict has surely been read. */
const readMs = 1_500;
/** Most attempts of an honest client in one second: with caps of 100, 200, 400 and 800 ms some ten come to pass by chance. */
const attemptsPerSecondMax = 20;

/** Every stream begins with a Hello that says the same of the client, and nothing else before the Welcome; the key is in the metadata. */
export function checkHello({ seen, key }: RunFacts): Finding {
  const faults: string[] = [];
  const opened = seenOf(seen, "opened");
  for (const { stream, authorization } of opened) {
    if (authorization !== `Bearer ${key}`) faults.push(`stream ${stream} has no "authorization: Bearer <key>"`);
  }
  const hellos = seenOf(seen, "hello");
  for (const { stream, hello, atMs } of hellos) {
    if (hello.mcpId !== mcpId) faults.push(`mcp_id is "${hello.mcpId}"`);
    if (hello.producerId === "" || hello.producerId !== hellos[0]?.hello.producerId) faults.push(`producer_id is "${hello.producerId}"`);
    if (hello.ackMode !== AckMode.COALESCED) faults.push("ack_mode is not COALESCED");
    for (const capability of promised)
      if (!hello.capabilities.includes(capability)) faults.push(`${Capability[capability]} is not promised`);
    const welcomeMs = seenOf(seen, "welcome").find((one) => one.stream === stream)?.atMs ?? Number.POSITIVE_INFINITY;
    if (seenOf(seen, "events").some((one) => one.stream === stream && one.atMs < welcomeMs)) faults.push("events before the Welcome");
    if (seen.some((one) => "stream" in one && one.stream === stream && one.kind !== "opened" && one.atMs < atMs && one.kind !== "fault"))
      faults.push("something before Hello");
  }
  return { occasions: hellos.length, faults: [...new Set(faults)] };
}

/** A new stream tells the oldest event that is held, and sends what the resume point does not cover, and nothing that has its verdict. */
export function checkResume({ seen }: RunFacts): Finding {
  const progress = new Progress();
  const faults: string[] = [];
  const resumeAfter = new Map<number, bigint>();
  const everSent = new Map<string, bigint>();
  /** Final verdicts that have passed, by event: a client has surely read those that came some time before their stream ended. */
  const passed = new Map<string, { readonly stream: number; readonly atMs: number }>();
  const endedAtMs = new Map<number, number>();
  const isRead = (eventId: string, nowMs: number): boolean => {
    const verdict = passed.get(eventId);
    return verdict !== undefined && (endedAtMs.get(verdict.stream) ?? nowMs) - verdict.atMs > readMs;
  };
  let occasions = 0;
  for (const one of seen) {
    if (one.kind === "hello" && everSent.size > 0) {
      const first = one.hello.firstUnackedSequence;
      const open = progress.oldestOpenSequence;
      if (open !== undefined && first > open) faults.push(`first_unacked_sequence is ${first}, while ${open} has no final verdict`);
      const surely = [...passed.keys()].filter((id) => isRead(id, one.atMs)).map((id) => everSent.get(id) ?? 0n);
      if (first === 0n || surely.includes(first)) faults.push(`first_unacked_sequence is ${first}, which was settled long before`);
    }
    if (one.kind === "welcome") {
      resumeAfter.set(one.stream, one.welcome.resumeAfterSequence);
      if (everSent.size > 0) {
        if (one.welcome.resumeStatus === ResumeStatus.RESUMED) occasions += 1;
        else faults.push(`the coordinator answered ${ResumeStatus[one.welcome.resumeStatus]} to a Hello after a lost stream`);
      }
    }
    if (one.kind === "events") {
      const covered = resumeAfter.get(one.stream) ?? 0n;
      for (const { eventId, sequence } of one.events) {
        if (everSent.has(eventId) && sequence <= covered && isRead(eventId, one.atMs))
          faults.push(`sequence ${sequence} was sent again, although ${covered} is resolved`);
        everSent.set(eventId, sequence);
      }
    }
    progress.add(one);
    if (one.kind === "ended") endedAtMs.set(one.stream, one.atMs);
    if (one.kind !== "verdicts") continue;
    for (const { eventId, isRetryable } of one.verdicts) if (!isRetryable) passed.set(eventId, { stream: one.stream, atMs: one.atMs });
  }
  return { occasions, faults };
}

/** A heartbeat in every interval of a stream; and a stream on which three were not answered is left, not sooner. */
export function checkHeartbeats({ seen, terms }: RunFacts): Finding {
  const faults: string[] = [];
  const intervalMs = terms.heartbeat_seconds * 1_000;
  const heartbeats = seenOf(seen, "heartbeat");
  for (const { stream, atMs: welcomeMs } of seenOf(seen, "welcome")) {
    const halted = seen.find(
      (one) => (one.kind === "half_closed" || one.kind === "ended" || one.kind === "drain") && one.stream === stream,
    );
    const beats = heartbeats.filter((one) => one.stream === stream).map(({ atMs }) => atMs);
    const times = [welcomeMs, ...beats, halted?.atMs ?? welcomeMs];
    const longest = Math.max(...times.map((atMs, index) => atMs - (times[index - 1] ?? atMs)));
    if (longest > intervalMs + busyMs) faults.push(`${Math.round(longest)} ms without a heartbeat; the interval is ${intervalMs} ms`);
  }
  const mute = seenOf(seen, "fault").find(({ fault }) => fault === "mute");
  if (mute !== undefined) {
    const left = seenOf(seen, "ended").find(({ stream }) => stream === mute.stream);
    const afterMs = (left?.atMs ?? Number.POSITIVE_INFINITY) - mute.atMs;
    if (left?.by !== "client" || afterMs > intervalMs * 5 + busyMs * 2)
      faults.push("a stream without any answer was not left after three missed heartbeats");
    else if (afterMs < intervalMs * 2)
      faults.push(`a stream was left ${Math.round(afterMs)} ms after the last answer; the interval is ${intervalMs} ms`);
  }
  return { occasions: mute === undefined ? 0 : heartbeats.length, faults };
}

/** After a DrainNotice: half-close, and the next stream not before reconnect_delay, on another connection when that is asked for. */
export function checkDrain({ seen }: RunFacts): Finding {
  const faults: string[] = [];
  const notices = seenOf(seen, "drain");
  for (const { stream, notice, atMs } of notices) {
    const isHalfClosed = seenOf(seen, "half_closed").some((one) => one.stream === stream);
    const endedByClient = seenOf(seen, "ended").some((one) => one.stream === stream && one.by === "client");
    if (!isHalfClosed || endedByClient) faults.push("the stream was not half-closed and awaited");
    const delayMs = msOf(notice.reconnectDelay, 0);
    const next = seenOf(seen, "opened").find((one) => one.stream > stream);
    if (next === undefined) faults.push("no stream after it");
    else if (next.atMs < atMs + delayMs - timerSlackMs)
      faults.push(`the next stream came ${Math.round(next.atMs - atMs)} ms after the notice; reconnect_delay is ${delayMs} ms`);
    const drained = seenOf(seen, "opened").find((one) => one.stream === stream);
    if (notice.newConnection && next !== undefined && next.connection === drained?.connection)
      faults.push("the next stream is on the connection that was retired");
  }
  return { occasions: notices.length, faults };
}

/** Attempts to reconnect are spread: neither a hammer nor a clock. */
export function checkJitter({ seen }: RunFacts): Finding {
  const faults: string[] = [];
  let occasions = 0;
  for (const kill of seenOf(seen, "fault").filter(({ fault }) => fault === "kill")) {
    const healedMs = seenOf(seen, "healed").find(({ atMs }) => atMs > kill.atMs)?.atMs ?? Number.POSITIVE_INFINITY;
    const during = (one: { readonly atMs: number }) => one.atMs > kill.atMs && one.atMs < healedMs;
    const attempts = seenOf(seen, "opened").filter(during);
    const gaps = attempts.slice(1).map((attempt, index) => {
      const failed = seenOf(seen, "ended").find(({ stream }) => stream === attempts[index]?.stream);
      return attempt.atMs - (failed?.atMs ?? attempt.atMs);
    });
    occasions += gaps.length;
    const [busiest] = attempts
      .map(({ atMs }) => attempts.filter((one) => one.atMs >= atMs && one.atMs < atMs + 1_000).length)
      .sort((a, b) => b - a);
    if ((busiest ?? 0) > attemptsPerSecondMax) faults.push(`${busiest} attempts within a second`);
    if (gaps.length >= 4 && isRegular(gaps)) faults.push(`no jitter: ${gaps.map((gap) => Math.round(gap)).join(", ")} ms between attempts`);
  }
  return { occasions, faults };
}

/** Whether each gap is the one before, or some fixed multiple of it, within a tenth: by chance once in thousands of runs. */
function isRegular(gaps: readonly number[]): boolean {
  const ratios = gaps.slice(1).map((gap, index) => gap / Math.max(1, gaps[index] ?? 1));
  const [first = 1] = ratios;
  return ratios.every((ratio) => Math.abs(ratio - first) <= first * 0.1);
}

/** While gRPC cannot be reached, events go over HTTP, a lost answer is answered by asking again; and the stream comes back. */
export function checkHttp({ seen, key }: RunFacts): Finding {
  const faults: string[] = [];
  const lost = seenOf(seen, "fault").find(({ fault }) => fault === "lose_grpc");
  if (lost === undefined) return { occasions: 0, faults };
  const posts = seenOf(seen, "posted").filter(({ atMs }) => atMs > lost.atMs);
  const progress = new Progress();
  for (const one of seen) progress.add(one);
  const answered = new Set(posts.flatMap(({ events, verdicts }) => (verdicts === undefined ? [] : events.map(({ eventId }) => eventId))));
  for (const post of posts) {
    if (post.authorization !== `Bearer ${key}`) faults.push('a post without "authorization: Bearer <key>"');
    if (post.mcpId === "" && post.events.some((event) => event.mcpId === "")) faults.push("a post that names no mcp_id");
    if (post.verdicts !== undefined) continue;
    const forgotten = post.events.filter(({ eventId }) => progress.events.get(eventId)?.isResolved !== true);
    if (forgotten.length > 0) faults.push(`${forgotten.length} events of a post without an answer never got a verdict`);
  }
  const healedMs = seenOf(seen, "healed").find(({ atMs }) => atMs > lost.atMs)?.atMs ?? Number.POSITIVE_INFINITY;
  if (!seenOf(seen, "welcome").some(({ atMs }) => atMs > healedMs)) faults.push("no stream after gRPC came back");
  return { occasions: answered.size, faults };
}

/** At the end: everything has its verdict, the stream is half-closed and ends with OK, and the process exits with 0. */
export function checkClose({ seen, exit, stepFault }: RunFacts): Finding {
  const faults: string[] = [];
  if (stepFault !== undefined) faults.push(`the scenario stopped at "${stepFault.step}": there was not ${stepFault.awaited}`);
  if (exit !== 0) faults.push(`the exit code is ${exit}`);
  const last = seenOf(seen, "ended").at(-1);
  const isHalfClosed = seenOf(seen, "half_closed").some(({ stream }) => stream === last?.stream);
  if (last === undefined || !isHalfClosed || last.by !== "coordinator" || last.code !== 0)
    faults.push("the last stream was not half-closed and ended with OK");
  return { occasions: last === undefined ? 0 : 1, faults };
}
