import { TextInput } from "@patternfly/react-core/dist/esm/components/TextInput/index.js";
import type { SecretField } from "../../form/field.js";
import { fileOf } from "../../form/fields-of.js";
import type { Json } from "../../form/json.js";
import { childOf, type Pointer, within } from "../../form/pointer.js";
import { isKept } from "../../form/secrets.js";
import { describedBy, FieldFrame } from "./field-frame.js";
import { useForm } from "./form-context.js";
import { shown, textIn, TextSetting } from "./text-input.js";
import { idOf } from "./use-focus.js";

interface SecretProps {
  readonly field: SecretField;
  readonly parent: Pointer;
  /** The object that has the secret. */
  readonly object: Json | undefined;
}

/** A secret that is typed in, and goes to the host with the next save; or the path of a file that has it. */
export function SecretSetting({ field, parent, object }: SecretProps) {
  const form = useForm();
  const pointer = within(parent, field.name);
  const id = idOf(pointer);
  const problems = form.problemsAt(pointer);
  const kept = isKept(object, field.name, form.kept);
  const help = [kept ? "A secret is stored; leave empty to keep it." : "", field.description];
  return (
    <>
      <FieldFrame
        id={id}
        title={field.title}
        required={kept ? "optional" : field.required}
        help={help}
        problems={problems}
      >
        <TextInput
          id={id}
          type="password"
          autoComplete="new-password"
          spellCheck={false}
          value={shown(childOf(object, field.name))}
          validated={problems.length > 0 ? "error" : "default"}
          aria-describedby={describedBy({ id, help, problems })}
          onChange={(_, text) => form.enter(pointer, textIn(text))}
          onBlur={() => form.touch(pointer)}
        />
      </FieldFrame>
      <TextSetting
        field={{ ...field.file, title: `${field.file.title} (instead of typing it in)` }}
        pointer={within(parent, fileOf(field.name))}
        value={childOf(object, fileOf(field.name))}
        note={kept ? "Luksmith keeps the stored secret in this file." : ""}
      />
    </>
  );
}
