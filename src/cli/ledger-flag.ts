import { type LedgerFile, openLedgerFile } from "../client/ledger-file.js";
import { CliFailure } from "./exit-code.js";

/** The ledger of `--ledger`; undefined without the flag. Errors: CliFailure `usage` when it cannot be opened. */
export function ledgerAt(path: string | undefined): LedgerFile | undefined {
  if (path === undefined) return undefined;
  try {
    return openLedgerFile(path);
  } catch (thrown) {
    // Translates: the file system's words into ours.
    throw new CliFailure(
      "usage",
      `--ledger ${path} cannot be opened: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      thrown,
    );
  }
}
