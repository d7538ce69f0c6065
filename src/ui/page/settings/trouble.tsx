import type { ReactNode } from "react";
import { problemOf, ProblemWords } from "../problem-words.js";
import { Notice } from "./notice.js";

interface TroubleProps {
  /** What was thrown. */
  readonly error: unknown;
  /** What could not be done: `The settings could not be read.` */
  readonly title: string;
  readonly children?: ReactNode;
}

/** What went wrong, why, and what to do next. */
export function Trouble({ error, title, children }: TroubleProps) {
  return (
    <Notice tone="danger" title={title}>
      <ProblemWords problem={problemOf(error)} />
      {children}
    </Notice>
  );
}
