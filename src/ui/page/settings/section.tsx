import { type ReactNode, useState } from "react";
import type { Field } from "../../form/field.js";
import type { Pointer } from "../../form/pointer.js";
import { FieldHelp } from "./field-frame.js";
import { useForm } from "./form-context.js";
import { idOf } from "./use-focus.js";

interface SectionProps {
  readonly field: Pick<Field, "title" | "description">;
  readonly pointer: Pointer;
  readonly children: ReactNode;
}

/** One part of the page, which the errors of `pointer` lead to. */
export function Section({ field: { title, description }, pointer, children }: SectionProps) {
  const { problemsAt } = useForm();
  const id = idOf(pointer);
  return (
    <section id={id} tabIndex={-1} aria-labelledby={`${id}-title`} className="luksmith-section">
      <div>
        <h2 id={`${id}-title`}>{title}</h2>
        <p>{description}</p>
        <FieldHelp id={id} help={[]} problems={problemsAt(pointer)} />
      </div>
      {children}
    </section>
  );
}

interface ItemProps {
  readonly pointer: Pointer;
  readonly title: string;
  /** What is to be known of it while it is closed. */
  readonly note: string;
  readonly initially: "open" | "closed";
  readonly children: ReactNode;
}

/** Something that opens to be edited. */
export function Item({ pointer, title, note, initially, children }: ItemProps) {
  // only at first: from then on it is the reader's
  const [open] = useState(initially === "open");
  return (
    <details className="luksmith-item" open={open}>
      <summary>
        <h3 id={`${idOf(pointer)}-title`}>{title}</h3>
        {note !== "" && <span className="luksmith-note">{note}</span>}
      </summary>
      <div
        id={idOf(pointer)}
        tabIndex={-1}
        role="group"
        aria-labelledby={`${idOf(pointer)}-title`}
        className="luksmith-fields"
      >
        {children}
      </div>
    </details>
  );
}
