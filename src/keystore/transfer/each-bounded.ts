/**
 * Does `work` for every item, at most `limit` at a time. After the first error no further item is begun; that error is
 * thrown when all that had begun has ended, so that nothing goes on behind the caller's back.
 */
export async function eachBounded<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = [];
  const queue = items.values();
  const worker = async () => {
    // all workers take from one queue
    for (const item of queue) {
      if (errors.length > 0) return;
      await work(item).catch((thrown: unknown) => errors.push(thrown));
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (errors.length > 0) throw errors[0];
}
