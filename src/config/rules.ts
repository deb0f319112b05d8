import { z } from "zod";
import { limits } from "../platform/limits.js";

/** What the schema of a setting does not say by itself. Everything shown to people about a setting is made of this and the schema. */
export type SettingNote = {
  /** What it decides, for the operator. One line, no trailing full stop. */
  readonly doc: string;
  /** Why the default is what it is. */
  readonly reason: string;
  readonly unit?: string;
  /** What stands for the default in documents when it is only known at start. */
  readonly defaultText?: string;
  /** The command-line flag, for the few settings that have one. */
  readonly flag?: string;
  /** Never printed, and also readable from a file through `<ENV>_FILE`. */
  readonly isSecret?: true;
};

/** The notes, by schema of the setting. */
export const settingNotes = z.registry<SettingNote>();

/** A whole number within bounds, both included. */
export function whole(least: number, most: number) {
  const rule = `must be a whole number from ${least} to ${most}`;
  return z.number({ error: rule }).int(rule).min(least, rule).max(most, rule);
}

/** A number within bounds, both included. */
export function ratio(least: number, most: number) {
  const rule = `must be a number from ${least} to ${most}`;
  return z.number({ error: rule }).min(least, rule).max(most, rule);
}

/** A switch. */
export function onOff() {
  return z.boolean({ error: "must be true or false" });
}

/**
 * A table in which operators name the keys themselves: each the name of `what`, of 1 to `idMaxBytes` bytes, each with a value that `value` takes.
 * Bound: `countMax` entries.
 */
export function tableOf<T extends z.ZodType>(what: string, value: T, countMax: number) {
  const isName = (name: string): boolean => name !== "" && Buffer.byteLength(name) <= limits.idMaxBytes;
  return z
    .record(z.string(), value, { error: "must be a table" })
    .refine((table) => Object.keys(table).every(isName), `the name of ${what} must have 1 to ${limits.idMaxBytes} bytes`)
    .refine((table) => Object.keys(table).length <= countMax, `must have at most ${countMax} entries`);
}

/** A name that travels in headers, and so is printable ASCII: gRPC and Node refuse to send anything else. */
export function headerText() {
  const rule = "must be a name of 1 to 256 printable ASCII characters, since it is sent in headers";
  return z
    .string({ error: rule })
    .regex(/^[ -~]+$/, rule)
    .max(limits.idMaxBytes, rule);
}

/** A name that is not empty, of at most `idMaxBytes` characters. `what` completes "must be". */
export function text(what: string) {
  const rule = `must be ${what}`;
  return z.string({ error: rule }).min(1, rule).max(limits.idMaxBytes, rule);
}
