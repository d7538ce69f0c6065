import type { ReactNode } from "react";

interface Props {
  readonly color?: "green" | "red" | "grey" | "blue" | "purple" | "orange";
  /** Tells it apart where colours do not; it is not read out. */
  readonly sign?: string;
  readonly children: ReactNode;
}

/** PatternFly's label. Its component measures itself to offer a tooltip, which takes seconds for hundreds of guests. */
export function Tag({ color, sign, children }: Props) {
  return (
    <span
      className={`pf-v6-c-label pf-m-compact ${color === undefined ? "pf-m-outline" : `pf-m-filled pf-m-${color}`}`}
    >
      <span className="pf-v6-c-label__content">
        {sign !== undefined && (
          <span className="pf-v6-c-label__icon" aria-hidden="true">
            {sign}
          </span>
        )}
        <span className="pf-v6-c-label__text">{children}</span>
      </span>
    </span>
  );
}
