import type { NewEvent } from "../../src/interaction/event.js";
import { StoreFault } from "../../src/store/store.js";
import type { Sabotage } from "./world.js";

/**
 * Broken coordinators, each by one fault that its designers would call impossible: the promise, the cursor, the fence, the ledger and the flow are
 * broken in turn. A simulation that lets one of them pass proves nothing about the others.
 */
export const sabotages: Readonly<Record<string, Sabotage>> = {
  "answers before the commit": {
    store: (part) => ({
      ...part,
      append: async (lane, events) => {
        part.append(lane, events).catch(() => {}); // commits some other time, or never
        return events.map(() => ({ kind: "stored", storedAtMs: 1 }));
      },
    }),
  },
  "takes a lost connection for a commit": {
    store: (part) => ({
      ...part,
      append: (lane, events) =>
        part.append(lane, events).catch((thrown: unknown) => {
          if (thrown instanceof StoreFault && thrown.kind === "outage")
            return events.map(() => ({ kind: "duplicate", storedAtMs: 1 }) as const);
          throw thrown;
        }),
    }),
  },
  "forgets where a producer was": {
    store: (part) => ({
      ...part,
      openProducer: async (...args) => {
        const opened = await part.openProducer(...args);
        return opened && { ...opened, resumeSequence: 0n, isKnown: false };
      },
    }),
  },
  "resumes one event too far": {
    store: (part) => ({
      ...part,
      openProducer: async (...args) => {
        const opened = await part.openProducer(...args);
        return opened && { ...opened, resumeSequence: opened.resumeSequence + 1n };
      },
    }),
  },
  "stores an event under a new id when it tries again": {
    store: (part) => {
      const tried = new WeakSet<NewEvent>();
      const renamed = (event: NewEvent): NewEvent => {
        if (!tried.has(event)) {
          tried.add(event);
          return event;
        }
        return { ...event, eventId: `${event.eventId.slice(0, -1)}${event.eventId.endsWith("0") ? "1" : "0"}` };
      };
      return { ...part, append: (lane, events) => part.append(lane, events.map(renamed)) };
    },
  },
  "stores without asking for the epoch": {
    store: (part) => ({
      ...part,
      append: (lane, events) =>
        part.append(
          lane,
          events.map((event) => ({ ...event, epoch: 0 })),
        ),
    }),
  },
  "gives every session of a producer the same epoch": {
    store: (part) => ({
      ...part,
      openProducer: async (...args) => {
        const opened = await part.openProducer(...args);
        return opened && { ...opened, epoch: 1 };
      },
    }),
  },
  "loses the last event of a batch": {
    store: (part) => ({
      ...part,
      append: async (lane, events) => {
        const [last] = events.slice(-1);
        if (events.length < 2 || last === undefined) return part.append(lane, events);
        const outcomes = await part.append(lane, events.slice(0, -1));
        return [...outcomes, { kind: "stored", storedAtMs: 1 }];
      },
    }),
  },
  "calls a conflict a duplicate": {
    store: (part) => ({
      ...part,
      append: async (lane, events) => {
        const outcomes = await part.append(lane, events);
        return outcomes.map((outcome) => (outcome.kind === "conflict" ? { kind: "duplicate", storedAtMs: 1 } : outcome));
      },
    }),
  },
  "drops a poison event without keeping it": {
    store: (part) => ({ ...part, setAside: async () => {} }),
  },
  "is never read again after a pause": {
    link: (link) => {
      Object.defineProperty(link, "resume", { value: () => {} });
    },
  },
  "ends a stream before its verdicts are written": {
    link: (link) => {
      const write = link.write;
      Object.defineProperty(link, "write", {
        value: (frame: Parameters<typeof write>[0]) => frame.frame.case === "eventAck" || write(frame),
      });
    },
  },
};
