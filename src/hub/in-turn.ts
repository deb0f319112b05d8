/** Runs tasks of one key one after another, in the order they were given; tasks of different keys do not wait for each other. */
export type InTurn = <T>(key: string, task: () => Promise<T>) => Promise<T>;

/**
 * Keeps the order of Hellos of one producer up to the store. Without it two openings that are under way at once may be committed in the other order: the
 * stream that its client has already given up gets the greater epoch and fences the one that lives.
 * Bound: a key is kept while a task of it is under way.
 */
export function createInTurn(): InTurn {
  const last = new Map<string, Promise<unknown>>();
  return (key, task) => {
    const turn = (last.get(key) ?? Promise.resolve()).then(task, task);
    last.set(key, turn);
    const forget = (): void => {
      if (last.get(key) === turn) last.delete(key);
    };
    void turn.then(forget, forget);
    return turn;
  };
}
