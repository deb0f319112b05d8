type Task = () => void;

const tasks = new Set<Task>();

/** Runs what is left to do, once. A task that throws must not keep the others from theirs: the process is at its end. */
function runAll(): void {
  for (const task of tasks) {
    tasks.delete(task);
    try {
      task();
    } catch {
      // Nobody is left to tell.
    }
  }
}

/** The runner ends its workers with SIGTERM, of which "exit" says nothing. */
function endedBySignal(): void {
  runAll();
  process.kill(process.pid, "SIGTERM");
}

/**
 * Runs `task` when the process of a test ends before it was called off: what a story has started must not outlive it, also where the hook that would have ended it
 * ran out of time or never knew of it. Synchronous. Returns what calls it off.
 */
export function atEnd(task: Task): () => void {
  if (tasks.size === 0) {
    process.once("exit", runAll);
    process.once("SIGTERM", endedBySignal);
  }
  tasks.add(task);
  return () => {
    if (!tasks.delete(task) || tasks.size > 0) return;
    process.off("exit", runAll);
    process.off("SIGTERM", endedBySignal);
  };
}
