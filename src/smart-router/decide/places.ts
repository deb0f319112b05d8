/**
 * Some of the targets of a decision, by their places in it, ascending. Only the first `count` elements of `at` mean something. One is written again and again: an array
 * whose length is cut gives its memory back, and takes it anew with the next decision.
 */
export type Places = { count: number; readonly at: Uint32Array };

export function noPlaces(size: number): Places {
  return { count: 0, at: new Uint32Array(size) };
}

/** Adds a place that is above all others, where there is room for it. */
export function addPlace(places: Places, at: number): void {
  places.at[places.count] = at;
  places.count += 1;
}

/** Leaves those for which `isKept` holds, in their order. */
export function keepPlaces(places: Places, isKept: (at: number) => boolean): void {
  let kept = 0;
  for (let index = 0; index < places.count; index += 1) {
    const at = places.at[index] ?? 0;
    if (!isKept(at)) continue;
    places.at[kept] = at;
    kept += 1;
  }
  places.count = kept;
}

export function hasPlace({ at, count }: Places, place: number): boolean {
  const found = at.indexOf(place);
  return found >= 0 && found < count;
}
