import { Form } from "@patternfly/react-core/dist/esm/components/Form/index.js";
import type { UiApi } from "../../api/ui-api.js";
import { FormContext, type FormState } from "./form-context.js";
import { KeystoresSection } from "./keystores-section.js";
import { LossDialog } from "./loss-dialog.js";
import { OutcomeNotice } from "./outcome-notice.js";
import { PoliciesSection } from "./policies-section.js";
import { ProfilesSection } from "./profiles-section.js";
import { RulesSection } from "./rules-section.js";
import { SaveBar } from "./save-bar.js";
import type { Editor } from "./use-editor.js";
import { useUnsaved } from "./use-unsaved.js";

interface Props {
  readonly api: UiApi;
  readonly editor: Editor;
  /** Of the settings' file. */
  readonly path: string;
}

/** All settings in one form, with one button that saves them. */
export function SettingsForm({ api, editor, path }: Props) {
  useUnsaved(editor.changed ? "unsaved" : "saved");
  const { draft, problemsAt, enter, touch } = editor;
  const form: FormState = { settings: draft.edited, kept: draft.kept, problemsAt, enter, touch };
  return (
    <FormContext.Provider value={form}>
      <p>
        What holds on this host, from <code>{path}</code>. What you leave empty stays out of that file, and
        the default holds.
      </p>
      <OutcomeNotice api={api} editor={editor} />
      <Form
        noValidate
        className="luksmith-settings-form"
        onSubmit={(event) => {
          event.preventDefault();
          editor.save();
        }}
      >
        <fieldset className="luksmith-plain" disabled={editor.saving}>
          <KeystoresSection api={api} base={draft.base} problems={editor.problems} agree={editor.agree} />
          <ProfilesSection />
          <RulesSection api={api} />
          <PoliciesSection />
        </fieldset>
        <SaveBar editor={editor} />
      </Form>
      {editor.asking !== undefined && (
        <LossDialog key={editor.asking.name} api={api} loss={editor.asking} editor={editor} />
      )}
    </FormContext.Provider>
  );
}
