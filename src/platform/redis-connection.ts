import type { Redis } from "ioredis";

/** An answer of Redis; texts as their bytes. */
export type RedisReply = Uint8Array | number | null | readonly RedisReply[];

export type RedisArgument = string | number | Buffer;
export type RedisCommand = readonly [name: string, ...args: RedisArgument[]];

/** What one command of several answered; texts are decoded. */
export type RedisAnswer =
  | { readonly kind: "ok"; readonly value: unknown }
  /** Redis refused this command; the others are not touched by it. */
  | { readonly kind: "refused"; readonly fault: RedisFault };

/**
 * Why Redis could not be used. `refused`: it answered with an error, and `code` is the first word of it, for example NOGROUP. `lost`: no answer came, and
 * what was asked for may have happened or not.
 */
export class RedisFault extends Error {
  override readonly name = "RedisFault";
  readonly kind: "refused" | "lost";
  readonly code: string;

  constructor(kind: "refused" | "lost", message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
    this.code = kind === "lost" ? "LOST" : (message.split(" ", 1)[0] ?? "");
  }

  static from(thrown: unknown): RedisFault {
    if (thrown instanceof RedisFault) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    const isReply = thrown instanceof Error && thrown.name === "ReplyError";
    return new RedisFault(isReply ? "refused" : "lost", message, thrown);
  }
}

/** One connection. It is never made again by itself: whoever has it opens another. Every call rejects with RedisFault only. */
export type RedisConnection = {
  readonly call: (...command: RedisCommand) => Promise<RedisReply>;
  /** Commands in one write; one answer each, in order. */
  readonly pipeline: (commands: readonly RedisCommand[]) => Promise<readonly RedisAnswer[]>;
  /** MULTI … EXEC: nothing of others comes between. Redis does not undo: a command that is refused keeps no other from its effect. */
  readonly transaction: (commands: readonly RedisCommand[]) => Promise<readonly RedisAnswer[]>;
  /** Ends it at once; what is under way is `lost`. Idempotent. */
  readonly close: () => void;
};

export type RedisConnectionOptions = {
  /** `redis://` or `rediss://`, with user, password and database number where needed. */
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  readonly connectMaxMs: number;
  /** Longest wait for an answer, blocking included. */
  readonly commandMaxMs: number;
  /** It was closed, by whomever. Called once, and not before `openRedis` has resolved. Must not throw. */
  readonly onClosed: (why: string) => void;
};

/**
 * Connects once. Nothing is queued while there is no connection, and nothing is sent a second time: the caller knows what may be repeated.
 * Errors: RedisFault. The library is loaded here, so that nobody pays for it who has no Redis.
 */
export async function openRedis(options: RedisConnectionOptions): Promise<RedisConnection> {
  const { Redis: Client } = await import("ioredis");
  let lastError: Error | undefined;
  let isOpen = false;
  const client: Redis = new Client(options.url, {
    lazyConnect: true,
    connectionName: options.name,
    disableClientInfo: true,
    enableOfflineQueue: false,
    enableReadyCheck: false, // a server that loads its data says so to the first command
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: options.connectMaxMs,
    commandTimeout: options.commandMaxMs,
    keepAlive: 10_000,
  });
  client.on("error", (error: Error) => {
    lastError = error;
  });
  client.on("end", () => {
    if (isOpen) options.onClosed(lastError?.message ?? "the connection was closed");
    isOpen = false;
  });
  try {
    await client.connect();
    // ioredis is connected before its password was answered.
    await client.ping();
  } catch (thrown) {
    // A user who may not ping is one who was let in.
    if (RedisFault.from(thrown).code !== "NOPERM") {
      client.disconnect();
      throw RedisFault.from(lastError ?? thrown);
    }
  }
  isOpen = true;
  return {
    call: (name, ...args) =>
      // The cast: ioredis types the answer of a free command as unknown; these are the shapes of RESP2.
      client.callBuffer(name, ...args).then((reply) => reply as RedisReply, rethrow),
    pipeline: (commands) => client.pipeline(commands.map(mutable)).exec().then(answersOf, rethrow),
    transaction: (commands) => client.multi(commands.map(mutable)).exec().then(answersOf, rethrow),
    close: () => client.disconnect(),
  };
}

/** As ioredis wants them in a batch: named as its methods are, in arrays that it may change. */
const mutable = ([name, ...args]: RedisCommand): RedisArgument[] => [name.toLowerCase(), ...args];

function rethrow(thrown: unknown): never {
  throw RedisFault.from(thrown);
}

function answersOf(results: [error: Error | null, value: unknown][] | null): readonly RedisAnswer[] {
  if (results === null) throw new RedisFault("lost", "the transaction was not executed");
  return results.map(([error, value]) => {
    if (error === null) return { kind: "ok", value };
    const fault = RedisFault.from(error);
    if (fault.kind === "lost") throw fault;
    return { kind: "refused", fault };
  });
}
