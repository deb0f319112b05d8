/**
 * Names that producers and coordinators of a Redis stream share; docs/redis.md is the manual. Every key begins with the name of the stream, so that one
 * ACL pattern covers them, and one hash tag in the name of the stream keeps them on one node.
 */

/** Fields of an entry that are ours. In an entry that has neither `event` nor `report`, all others are fields of the documented flat report. */
export const entryFields = { event: "event", report: "report", apiKey: "api_key", replyTo: "reply_to" } as const;

/** Fields of a verdict, in the stream that an entry named in `reply_to`. */
export const verdictFields = {
  /** Id of the entry that is answered. */
  entry: "entry",
  /** Empty when the entry could not be read. */
  eventId: "event_id",
  /** STORED, DUPLICATE and so on: EventStatus of events.proto. */
  verdict: "verdict",
  /** `1`: the event is not stored and the entry is done with; the same event may succeed when it is added again later. */
  retryable: "retryable",
  /** Why it was not stored: `field: REASON description`. Empty when it was. */
  reason: "reason",
} as const;

/** Where entries go that can never be stored. */
export const deadLetterKey = (stream: string): string => `${stream}:dead`;

/** What the name of a stream for verdicts begins with; the coordinator writes to no other key that an entry names. */
export const verdictKeyPrefix = (stream: string): string => `${stream}:verdicts:`;

/** Exists while a coordinator reads the stream. */
export const readerKey = (stream: string): string => `${stream}:reader`;
