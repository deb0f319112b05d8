import { getHeapStatistics } from "node:v8";

/**
 * Share of the memory that this process may have which it uses, 0 to 1: of V8's heap limit, or, with what lives outside of the heap, of the limit of its
 * container, whichever is nearer. Not the resident size: that stays high long after memory was freed.
 * Source: v8.getHeapStatistics, process.constrainedMemory, which is 0 or beyond all memory where there is no limit.
 */
export function memoryShare(): number {
  const heap = getHeapStatistics();
  const ofHeap = heap.used_heap_size / heap.heap_size_limit;
  const constrainedBytes = process.constrainedMemory();
  const ofContainer = constrainedBytes > 0 ? (heap.used_heap_size + heap.external_memory) / constrainedBytes : 0;
  return Math.min(1, Math.max(ofHeap, ofContainer));
}
