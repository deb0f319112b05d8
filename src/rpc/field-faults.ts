import { checkText } from "../interaction/check.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";

/** One refusal that names every fault. */
export function fieldsError(faults: readonly FieldFault[]): CoordinatorError {
  const sentences = faults.map((fault) => `${fault.field}: ${fault.description}`);
  return new CoordinatorError("invalid", sentences.join("; "), { reason: "FIELD_VIOLATION", fields: faults });
}

/** Throws one refusal that names every fault; nothing without faults. */
export function refuseFaults(faults: readonly FieldFault[]): void {
  if (faults.length > 0) throw fieldsError(faults);
}

/** What keeps a text from being stored or compared. */
export function faultsOfText(field: string, text: string): readonly FieldFault[] {
  const faults: FieldFault[] = [];
  checkText(text, field, (place, reason, description) => faults.push({ field: place, reason, description }));
  return faults;
}
