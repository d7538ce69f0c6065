import { useRef } from "react";

/** Keys for the items of a list that have none: an item keeps its own when others come, go or move. */
export interface ItemKeys {
  readonly keys: readonly number[];
  readonly remove: (index: number) => void;
  readonly swap: (index: number, other: number) => void;
}

export function useItemKeys(length: number): ItemKeys {
  const state = useRef<{ keys: readonly number[]; next: number }>({ keys: [], next: 0 });
  const { keys, next } = state.current;
  // items are added at the end; whoever removes one says which
  if (keys.length !== length) {
    const added = Array.from({ length: Math.max(0, length - keys.length) }, (_, index) => next + index);
    state.current = { keys: [...keys.slice(0, length), ...added], next: next + added.length };
  }
  return {
    keys: state.current.keys,
    remove: (index) => {
      state.current = { ...state.current, keys: state.current.keys.toSpliced(index, 1) };
    },
    swap: (index, other) => {
      const now = state.current.keys;
      const [one = -1, two = -1] = [now[index], now[other]];
      state.current = { ...state.current, keys: now.with(index, two).with(other, one) };
    },
  };
}
