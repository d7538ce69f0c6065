import type { Field } from "../../form/field.js";
import { policyFields } from "./form.js";
import { FieldHelp } from "./field-frame.js";
import { FieldView, FieldViews } from "./field-view.js";
import { useForm } from "./form-context.js";
import { Item, Section } from "./section.js";
import { idOf } from "./use-focus.js";

const TITLE = {
  title: "Encryption engine and policies",
  description: "What holds for all disks of this host, whatever their profile.",
};

/** All that is not a list: each object of the schema is a group, and what stands alone makes the last one. */
export function PoliciesSection() {
  const fields = policyFields();
  const alone = fields.filter(({ kind }) => kind !== "group");
  return (
    <Section field={TITLE} pointer="/policies">
      {fields.map((field) => field.kind === "group" && <PolicyGroup key={field.name} field={field} />)}
      <Item pointer="/general" title="This host" note="" initially="closed">
        <FieldViews fields={alone} parent="" object={useForm().settings} />
      </Item>
    </Section>
  );
}

function PolicyGroup({ field }: { readonly field: Extract<Field, { kind: "group" }> }) {
  const { settings, problemsAt } = useForm();
  const pointer = `/${field.name}`;
  const value = settings[field.name];
  return (
    <Item
      pointer={pointer}
      title={field.title}
      note={value === undefined ? "as by default" : "changed"}
      initially={value === undefined ? "closed" : "open"}
    >
      <FieldHelp id={idOf(pointer)} help={[field.description]} problems={problemsAt(pointer)} />
      {field.fields.map((child) => (
        <FieldView key={child.name} field={child} parent={pointer} object={value} />
      ))}
    </Item>
  );
}
