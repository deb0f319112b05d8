import type { ConfigAck, SessionSettings } from "../wire/session-terms.js";
import { VersionOutlet } from "./version-outlet.js";

/** Where a session stands with the settings. */
export type ConfigStanding = { readonly version: number; readonly isRejected: boolean };

/** What an ack of settings came to. `superseded` is what was in force until then. */
export type ConfigAcked =
  | { readonly kind: "applied"; readonly settings: SessionSettings }
  | { readonly kind: "rejected"; readonly settings: SessionSettings }
  | { readonly kind: "waiting" }
  | { readonly kind: "ignored" };

/** The settings of one session: which are in force at the client, and which it is to get next. */
export class ConfigOutlet {
  readonly #outlet = new VersionOutlet<SessionSettings & { readonly term: number }>("c");
  #inForce: SessionSettings;
  #isRejected = false;

  /** `inForce` is what Welcome says; whoever gets no Welcome is held to the same. */
  constructor(inForce: SessionSettings) {
    this.#inForce = inForce;
  }

  get inForce(): SessionSettings {
    return this.#inForce;
  }

  get standing(): ConfigStanding {
    return { version: this.#inForce.version, isRejected: this.#isRejected };
  }

  offer(settings: SessionSettings): void {
    if (settings.version > this.#inForce.version) this.#outlet.offer({ ...settings, term: 0 });
  }

  /** What to send now; undefined while an update is outstanding or nothing is new. */
  take(nowMs: number): { readonly nonce: string; readonly settings: SessionSettings } | undefined {
    const sent = this.#outlet.take(nowMs);
    return sent && { nonce: sent.nonce, settings: sent.value };
  }

  /** An ack came; one that is about nothing outstanding is ignored. Settings cannot expire. */
  acked(ack: ConfigAck): ConfigAcked {
    if (ack.status === "expired") return { kind: "ignored" };
    const settings = this.#outlet.acked(ack.nonce, ack.status);
    if (settings === undefined) return { kind: "ignored" };
    if (ack.status === "received") return { kind: "waiting" };
    this.#isRejected = ack.status === "rejected";
    if (this.#isRejected) return { kind: "rejected", settings };
    this.#inForce = settings;
    return { kind: "applied", settings };
  }
}
