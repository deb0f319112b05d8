import type { NewEvent, Outcome } from "../../src/interaction/event.js";
import type { Clock } from "../../src/platform/clock.js";
import { type ProducerOpened, type Store, StoreFault } from "../../src/store/store.js";
import { type FoldedRow, foldEvent } from "./fold.js";
import { type Flaw, itemNumberOf, tagInBody } from "./workload.js";

export type Row = { readonly event: NewEvent; readonly tag: string; readonly storedAtMs: number };

/** What may become of a statement. */
export type Fate =
  /** It commits and its answer arrives. */
  | "answer"
  /** It commits, and the connection is lost before the answer. */
  | "lose_answer"
  /** It never commits. */
  | "deadlock"
  | "refuse"
  /** It commits; the answer comes some other time. */
  | "commit_only";

/** A statement that a coordinator has sent. `settle` gives it its fate; true when the statement is over. */
export type Statement = {
  readonly coordinator: number;
  readonly text: string;
  readonly settle: (fate: Fate) => boolean;
  /** The coordinator is gone: the statement may commit all the same, but nobody hears of it. */
  orphan: () => void;
};

/** What a coordinator is given of a store. */
export type StorePart = Pick<Store, "laneCount" | "append" | "setAside" | "openProducer" | "readEpochs">;

/**
 * A test instrument with the semantics of Store.append and Store.openProducer as their docstrings and append-sql.ts have them, and with failpoints:
 * every statement waits for the schedule to decide whether it commits and whether its answer arrives. It stands for the durable side only, so that
 * schedules by the thousand fit into seconds; the real stores are held to the same semantics by test/story/store-append.test.ts.
 */
export class ModelStore {
  readonly rows = new Map<string, Row>();
  /** Numbers of items that were set aside. */
  readonly deadLetters = new Set<number>();
  readonly producers = new Map<string, { epoch: number; mcpId: string; resumeSequence: bigint; sessionId: string }>();
  readonly interactions = new Map<string, FoldedRow>();
  readonly statements: Statement[] = [];
  /** While true nothing commits. */
  isDown = false;
  readonly #clock: Clock;
  readonly #inserted: (row: Row) => void;
  readonly #flawOf: (tag: string) => Flaw;

  /** `inserted` sees every row as it is committed; `flawOf` tells which contents cannot be stored. */
  constructor(clock: Clock, inserted: (row: Row) => void, flawOf: (tag: string) => Flaw) {
    this.#clock = clock;
    this.#inserted = inserted;
    this.#flawOf = flawOf;
  }

  /** The store as one coordinator sees it. */
  connect(coordinator: number, laneCount: number): StorePart {
    const send = <T>(text: string, commit: () => T): Promise<T> => this.#send(coordinator, text, commit);
    return {
      laneCount,
      append: (lane, events) => send(`append of ${events.length} on lane ${lane}`, () => this.#append(events)),
      setAside: (event) =>
        send("dead letter", () => {
          this.deadLetters.add(itemNumberOf(tagInBody(event.body)));
        }),
      openProducer: (producerId, mcpId, sessionId) => send(`open ${producerId}`, () => this.#openProducer(producerId, mcpId, sessionId)),
      readEpochs: (producerIds) =>
        send(`epochs of ${producerIds.length}`, () => {
          const known = [...this.producers].filter(([id]) => producerIds.includes(id));
          return new Map(known.map(([id, { epoch }]) => [id, epoch]));
        }),
    };
  }

  /** What is stored under an id, by whoever's name. */
  find(eventId: string, mcpId: string): Row | undefined {
    return this.rows.get(eventId + mcpId);
  }

  #send<T>(coordinator: number, text: string, commit: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let done: { readonly value: T } | { readonly fault: unknown } | undefined;
      let isOrphan = false;
      const perform = () => {
        try {
          done ??= { value: commit() };
        } catch (fault) {
          done = { fault }; // what the store throws is its answer
        }
        return done;
      };
      const settle = (fate: Fate): boolean => {
        const isDown = this.isDown && done === undefined;
        if (isDown || fate === "refuse" || fate === "deadlock") {
          if (!isOrphan) reject(fate === "deadlock" && !isDown ? deadlock() : outage());
          return true;
        }
        const answer = perform();
        if (fate === "commit_only") return false;
        if (isOrphan) return true;
        if (fate === "lose_answer") reject(outage());
        else if ("value" in answer) resolve(answer.value);
        else reject(answer.fault);
        return true;
      };
      const orphan = () => {
        isOrphan = true;
      };
      this.statements.push({ coordinator, text, settle, orphan });
    });
  }

  /** One implicit transaction; the steps of append-sql.ts. */
  #append(events: readonly NewEvent[]): readonly Outcome[] {
    for (const event of events) {
      const flaw = this.#flawOf(tagInBody(event.body));
      if (flaw === "poison") throw new StoreFault("poison", "22P05", "untranslatable character");
      if (flaw === "bug") throw new TypeError("the store's own code failed on this event");
    }
    return events.map((event) => this.#appendOne(event));
  }

  #appendOne(event: NewEvent): Outcome {
    const owner = this.producers.get(event.producerId);
    const isOwned = event.epoch !== 0 && owner !== undefined && owner.epoch === event.epoch;
    if (event.epoch !== 0 && !isOwned) return { kind: "fenced" };
    if (isOwned && event.sequence > owner.resumeSequence) owner.resumeSequence = event.sequence;
    const key = event.eventId + event.mcpId;
    const before = this.rows.get(key);
    if (before !== undefined) {
      const { storedAtMs } = before;
      const storedDigest = before.event.digest;
      return storedDigest === event.digest ? { kind: "duplicate", storedAtMs } : { kind: "conflict", storedDigest, storedAtMs };
    }
    const row: Row = { event, tag: tagInBody(event.body), storedAtMs: this.#clock.nowMs() };
    this.rows.set(key, row);
    const interaction = `${event.mcpId}/${event.interactionId}`;
    this.interactions.set(interaction, foldEvent(this.interactions.get(interaction), event));
    this.#inserted(row);
    return { kind: "stored", storedAtMs: row.storedAtMs };
  }

  #openProducer(producerId: string, mcpId: string, sessionId: string): ProducerOpened | undefined {
    const known = this.producers.get(producerId);
    if (known === undefined) {
      this.producers.set(producerId, { epoch: 1, mcpId, resumeSequence: 0n, sessionId });
      return { epoch: 1, resumeSequence: 0n, isKnown: false, silentMs: 0, supersededSessionId: "" };
    }
    if (known.mcpId !== mcpId && known.mcpId !== "") return undefined;
    known.mcpId = mcpId;
    known.epoch += 1;
    const supersededSessionId = known.sessionId;
    known.sessionId = sessionId;
    return { epoch: known.epoch, resumeSequence: known.resumeSequence, isKnown: true, silentMs: 0, supersededSessionId };
  }
}

const outage = () => new StoreFault("outage", "57P01", "terminating connection due to administrator command");
const deadlock = () => new StoreFault("transient", "40P01", "deadlock detected");
