import { backoffMs } from "../platform/backoff.js";
import type { Cancel, Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";
import { type Choice, type ChoiceRules, choiceRules, choose, noChoice, scoreOf } from "./choose.js";
import type { Settlement, Transport, TransportEvents, TransportHealth, TransportName } from "./transports/transport.js";

/** A transport that can be had. Nothing is loaded and nothing connects before `open`. */
export type WayOut = { readonly name: TransportName; readonly open: (events: TransportEvents) => Promise<Transport> };

/** What a transport is like now, for people and figures. `score` is 0 while it cannot be used, else up to 1. */
export type WayState = TransportHealth & { readonly name: TransportName; readonly score: number };

export type WaysDeps = {
  readonly clock: Clock;
  readonly rng: Rng;
  /** In the order of preference. */
  readonly outs: readonly WayOut[];
  readonly rules?: ChoiceRules;
  readonly onSettled: (name: TransportName, settlement: Settlement) => void;
  /** There may be room for events. */
  readonly onRoom: () => void;
  /** Another transport is in use: what `before` had has to be offered to it. */
  readonly onChosen: (choice: Choice, before: TransportName | undefined) => void;
  /** A transport is down, and somebody has to do something about it: TLS, or a right that its user has not. Called once for each reason. */
  readonly onBarred: (name: TransportName, why: string) => void;
  /** How long a transport with events has said nothing.     Units: ms. */
  readonly silentMs: (name: TransportName) => number;
};

type Way = {
  readonly out: WayOut;
  /** Undefined until it is needed. */
  transport: Transport | undefined;
  /** Why it could not be opened; empty when it could, or was not tried. */
  fault: string;
  isOpening: boolean;
  /** It has been silent, and has neither said anything since nor left `up`: that it has no events any more is no sign that it works. */
  isMute: boolean;
  /** At the last look. */
  wasUp: boolean;
  /** The reason that was told to `onBarred` last. */
  barredWhy: string;
  probes: number;
  isProbing: boolean;
  cancelProbe: Cancel | undefined;
};

/**
 * The transports there are and the one in use. The most preferred is opened at once, the others when it is not up or begins to be silent; those that are not up are probed, less
 * and less often, and at once when another comes up: what was away with it is likely to be back with it.
 * Nothing here rejects: a transport that cannot be opened is one that is down.
 */
export class Ways {
  readonly #deps: WaysDeps;
  readonly #rules: ChoiceRules;
  readonly #ways: readonly Way[];
  readonly #startedMs: number;
  #choice = noChoice;
  #hastenedMs = Number.NEGATIVE_INFINITY;
  #cancelTick: Cancel | undefined;
  #isStopped = false;

  constructor(deps: WaysDeps) {
    this.#deps = deps;
    this.#rules = deps.rules ?? choiceRules;
    this.#startedMs = deps.clock.monotonicMs();
    this.#ways = deps.outs.map((out) => ({
      ...{
        out,
        transport: undefined,
        fault: "",
        isOpening: false,
        isMute: false,
        wasUp: false,
        barredWhy: "",
        probes: 0,
        isProbing: false,
        cancelProbe: undefined,
      },
    }));
    this.#look();
  }

  get choice(): Choice {
    return this.#choice;
  }

  /** Whether the most preferred one is in use: there is nothing better to wait for. */
  get isAtBest(): boolean {
    return this.#choice.current === this.#ways[0]?.out.name;
  }

  /** The transport to offer to; undefined while none is up. */
  get current(): Transport | undefined {
    const way = this.#ways.find(({ out }) => out.name === this.#choice.current);
    return way?.transport?.health().state === "up" ? way.transport : undefined;
  }

  get states(): readonly WayState[] {
    const nowMs = this.#deps.clock.monotonicMs();
    return this.#ways.map((way) => ({
      name: way.out.name,
      ...healthOf(way),
      score: scoreOf(this.#choice, way.out.name, nowMs, this.#rules),
    }));
  }

  /** Stops all of them; each gets `graceMs` for its last settlements. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    this.#cancelTick?.();
    for (const way of this.#ways) way.cancelProbe?.();
    await Promise.all(this.#ways.map(({ transport }) => transport?.stop(graceMs)));
  }

  /** Chooses anew from what is known now, and opens and probes what that asks for. */
  #look(): void {
    if (this.#isStopped) return;
    const nowMs = this.#deps.clock.monotonicMs();
    const before = this.#choice;
    const candidates = this.#ways.map((way) => {
      const { name } = way.out;
      const health = healthOf(way);
      const { state } = health;
      this.#tellBarred(way, health);
      way.isMute = state === "up" && (way.isMute || this.#deps.silentMs(name) >= limits.transportSilenceMaxMs);
      return { name, state, isSilent: way.isMute };
    });
    // With one transport there is nothing to choose: it is used whenever it is up.
    this.#choice = choose(
      before,
      this.#ways.length === 1 ? candidates.map((one) => ({ ...one, isSilent: false })) : candidates,
      nowMs,
      this.#rules,
    );
    if (this.#choice.current !== before.current) this.#deps.onChosen(this.#choice, before.current);
    this.#openWanted(nowMs);
    this.#hastenOthers();
    for (const way of this.#ways) this.#probeSoon(way);
    this.#tick();
  }

  #tellBarred(way: Way, { state, why, tls, denied }: TransportHealth): void {
    if (state === "up") way.barredWhy = "";
    if (state !== "down" || (tls === undefined && denied === undefined) || way.barredWhy === why) return;
    way.barredWhy = why;
    this.#deps.onBarred(way.out.name, why);
  }

  #openWanted(nowMs: number): void {
    const [first] = this.#ways;
    if (first === undefined) return;
    this.#open(first);
    const { name } = first.out;
    const { state } = healthOf(first);
    const isFirstInUse = this.#choice.current === name && state === "up" && this.#deps.silentMs(name) < limits.transportSilenceMaxMs / 2;
    const mayStillCome = state !== "down" && nowMs - this.#startedMs < this.#rules.graceMs;
    if (!isFirstInUse && !mayStillCome) for (const way of this.#ways) this.#open(way);
  }

  #open(way: Way): void {
    if (way.transport !== undefined || way.isOpening || way.fault !== "") return;
    way.isOpening = true;
    const { name } = way.out;
    const events: TransportEvents = {
      onSettled: (settlement) => {
        way.isMute = false;
        this.#deps.onSettled(name, settlement);
      },
      onChange: () => {
        if (this.#isStopped) return;
        this.#look();
        if (this.#choice.current === name) this.#deps.onRoom();
      },
    };
    void way.out
      .open(events)
      .then(
        async (transport) => {
          way.transport = transport;
          if (this.#isStopped) await transport.stop(0);
        },
        (thrown: unknown) => {
          // The loop's edge: that it cannot be opened, for want of a package perhaps, is its state from now on.
          way.fault = `cannot be opened: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
        },
      )
      .finally(() => {
        way.isOpening = false;
        this.#look();
      });
  }

  /** One that has come up is a reason to look for the others now, and not at the end of pauses that an outage has made long. */
  #hastenOthers(): void {
    const isUp = this.#ways.map((way) => healthOf(way).state === "up");
    const nowMs = this.#deps.clock.monotonicMs();
    // One that flaps must not make the others be tried at its pace.
    const mayHasten = nowMs - this.#hastenedMs >= limits.transportProbeBackoff.firstMs;
    const hasRisen = mayHasten && this.#ways.some((way, index) => isUp[index] === true && !way.wasUp);
    if (hasRisen) this.#hastenedMs = nowMs;
    for (const [index, way] of this.#ways.entries()) {
      way.wasUp = isUp[index] === true;
      if (!hasRisen || way.wasUp || way.isProbing) continue;
      way.cancelProbe?.();
      way.cancelProbe = undefined;
      way.probes = 0;
      way.transport?.hasten?.();
    }
  }

  /** One probe at a time; after each the next one waits longer, until the transport is up. */
  #probeSoon(way: Way): void {
    const { transport } = way;
    if (transport === undefined) return;
    const { state } = transport.health();
    if (state === "up") way.probes = 0;
    if (state === "up" || way.cancelProbe !== undefined) return;
    const delayMs = way.probes === 0 ? 0 : backoffMs(limits.transportProbeBackoff, way.probes, this.#deps.rng);
    way.probes += 1;
    way.cancelProbe = this.#deps.clock.after(delayMs, () => {
      way.isProbing = true;
      void transport.probe().finally(() => {
        way.isProbing = false;
        way.cancelProbe = undefined;
        this.#look();
      });
    });
  }

  /** Looks again by itself while time alone may change the choice. */
  #tick(): void {
    this.#cancelTick?.();
    this.#cancelTick = this.#ways.length > 1 ? this.#deps.clock.after(limits.transportLookMs, () => this.#look()) : undefined;
  }
}

function healthOf({ transport, fault, isOpening }: Way): TransportHealth {
  if (transport !== undefined) return transport.health();
  if (fault !== "") return { state: "down", why: fault };
  return isOpening ? { state: "connecting", why: "is being loaded" } : { state: "idle", why: "not needed yet" };
}
