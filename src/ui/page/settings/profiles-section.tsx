import { isObject, type Json, textIn } from "../../form/json.js";
import { namesOf } from "../../form/usage.js";
import { listNamed } from "./form.js";
import { useForm } from "./form-context.js";
import { NamedList } from "./named-list.js";
import { ProfileRemovalButton } from "./profile-removal.js";
import { Section } from "./section.js";

const FIELD = listNamed("profiles");

/** How disks are encrypted. */
export function ProfilesSection() {
  const { settings } = useForm();
  const [first = "none"] = namesOf(settings, "keystores");
  return (
    <Section field={FIELD} pointer="/profiles">
      <NamedList
        field={FIELD}
        noun="profile"
        empty="There is no profile: no disk can be encrypted. Add one named default."
        noteOf={(profile) => `${formatOf(profile)}, keys in ${textIn(profile, "keystore") ?? first}`}
        actionsOf={(listed) => <ProfileRemovalButton {...listed} />}
      />
    </Section>
  );
}

function formatOf(profile: Json): string {
  const { format, cipher } = isObject(profile) ? profile : {};
  return [format ?? "luks", cipher].filter((word) => typeof word === "string").join(", ");
}
