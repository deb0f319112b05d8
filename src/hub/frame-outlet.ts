import type { ServerFrame } from "../wire/server-frame.js";

/** What may have to wait for a peer that does not read. Of each there is only the newest: a peer that asks and does not read piles up nothing. */
type Postponed = "refresh" | "window" | "heartbeat";

/** The way of frames to one transport. Bound: one frame of each kind of `Postponed`, besides what the transport has taken. */
export class FrameOutlet {
  readonly #transport: { readonly write: (frame: ServerFrame) => boolean };
  readonly #blocked: () => void;
  readonly #postponed = new Map<Postponed, () => ServerFrame>();
  #isWritable = true;

  /** `blocked` is called each time the transport wants no more. */
  constructor(transport: { readonly write: (frame: ServerFrame) => boolean }, blocked: () => void) {
    this.#transport = transport;
    this.#blocked = blocked;
  }

  /** Whether the transport wants more frames. */
  get isWritable(): boolean {
    return this.#isWritable;
  }

  /** Writes whatever the transport says: for what comes once or is bounded elsewhere. */
  write(frame: ServerFrame): void {
    if (this.#transport.write(frame)) return;
    this.#isWritable = false;
    this.#blocked();
  }

  /** Writes now, or in place of an older one when the transport takes frames again; `make` is called then, so that it tells the newest state. */
  writeNewest(kind: Postponed, make: () => ServerFrame): void {
    if (this.#isWritable) this.write(make());
    else this.#postponed.set(kind, make);
  }

  /** The transport takes frames again. */
  unblocked(): void {
    this.#isWritable = true;
  }

  /** Writes what had to wait. */
  writePostponed(): void {
    const postponed = [...this.#postponed];
    this.#postponed.clear();
    for (const [kind, make] of postponed) this.writeNewest(kind, make);
  }
}
