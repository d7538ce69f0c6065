import { FormGroup, FormHelperText } from "@patternfly/react-core/dist/esm/components/Form/index.js";
import { HelperText, HelperTextItem } from "@patternfly/react-core/dist/esm/components/HelperText/index.js";
import type { ReactNode } from "react";
import type { Requirement } from "../../form/field.js";

export interface FrameProps {
  readonly id: string;
  readonly title: string;
  readonly required: Requirement;
  readonly help: readonly string[];
  readonly problems: readonly string[];
  readonly children: ReactNode;
}

/** Label, help and errors around one input, which names them with `describedBy`. */
export function FieldFrame({ id, title, required, help, problems, children }: FrameProps) {
  return (
    <FormGroup label={title} fieldId={id} isRequired={required === "required"}>
      {children}
      <FieldHelp id={id} help={help} problems={problems} />
    </FormGroup>
  );
}

export function FieldHelp({ id, help, problems }: Pick<FrameProps, "id" | "help" | "problems">) {
  const sentences = help.filter((sentence) => sentence !== "");
  return (
    <FormHelperText>
      <div id={`${id}-problems`} aria-live="polite">
        {problems.map((problem) => (
          <HelperText key={problem}>
            <HelperTextItem variant="error">{problem}</HelperTextItem>
          </HelperText>
        ))}
      </div>
      {sentences.length > 0 && (
        <HelperText id={`${id}-help`}>
          {sentences.map((sentence) => (
            <HelperTextItem key={sentence}>{sentence}</HelperTextItem>
          ))}
        </HelperText>
      )}
    </FormHelperText>
  );
}

/** The ids of what FieldHelp shows, errors first. */
export function describedBy({ id, help, problems }: Pick<FrameProps, "id" | "help" | "problems">): string {
  return [
    ...(problems.length > 0 ? [`${id}-problems`] : []),
    ...(help.some((sentence) => sentence !== "") ? [`${id}-help`] : []),
  ].join(" ");
}
