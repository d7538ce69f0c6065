import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { IdleTimer } from "../../../src/ui/local/idle-timer.js";

const onIdle = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  onIdle.mockReset();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Work that ends when it is told to. */
function work(): { readonly run: () => Promise<void>; readonly end: () => void } {
  let end = () => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  return { run: () => ended, end: () => end() };
}

it("calls once when nothing goes on", async () => {
  const timer = new IdleTimer(1000, onIdle);
  await vi.advanceTimersByTimeAsync(999);
  expect(onIdle).not.toHaveBeenCalled();

  await vi.advanceTimersByTimeAsync(10_000);
  expect(onIdle).toHaveBeenCalledOnce();
  timer[Symbol.dispose]();
});

it("begins anew when work has ended", async () => {
  using timer = new IdleTimer(1000, onIdle);
  await vi.advanceTimersByTimeAsync(900);
  await timer.during(() => Promise.resolve());
  await vi.advanceTimersByTimeAsync(900);
  expect(onIdle).not.toHaveBeenCalled();

  await vi.advanceTimersByTimeAsync(100);
  expect(onIdle).toHaveBeenCalledOnce();
});

it("never calls while work goes on, of which there may be several", async () => {
  using timer = new IdleTimer(1000, onIdle);
  const [long, short] = [work(), work()];
  const all = [timer.during(long.run), timer.during(short.run)];
  await vi.advanceTimersByTimeAsync(100_000);
  short.end();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(onIdle).not.toHaveBeenCalled();

  long.end();
  await Promise.all(all);
  await vi.advanceTimersByTimeAsync(1000);
  expect(onIdle).toHaveBeenCalledOnce();
});

it("waits again after work that has failed", async () => {
  using timer = new IdleTimer(1000, onIdle);
  await expect(timer.during(() => Promise.reject(new Error("no")))).rejects.toThrow("no");

  await vi.advanceTimersByTimeAsync(1000);
  expect(onIdle).toHaveBeenCalledOnce();
});

it("never calls once it is disposed of, also when work ends after that", async () => {
  const timer = new IdleTimer(1000, onIdle);
  const late = work();
  const during = timer.during(late.run);
  timer[Symbol.dispose]();
  late.end();
  await during;
  await vi.advanceTimersByTimeAsync(100_000);

  expect(onIdle).not.toHaveBeenCalled();
});
