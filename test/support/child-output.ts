import type { ChildProcess } from "node:child_process";

/** How a process ended, and all that it wrote. */
export type ChildOutput = { readonly code: number | NodeJS.Signals; readonly stdout: string; readonly stderr: string };

/** Resolves when a process with pipes has ended. */
export function outputOf(child: ChildProcess): Promise<ChildOutput> {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (chunk: string) => {
      written[name] += chunk;
    });
  }
  return new Promise((resolve) => child.once("close", (code, signal) => resolve({ code: code ?? signal ?? 0, ...written })));
}
