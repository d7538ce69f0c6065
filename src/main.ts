export async function runHook(event: string): Promise<number> {
  await Promise.resolve();
  return event.length;
}
