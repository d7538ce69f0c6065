import type { Removal } from "../../form/removal.js";
import { whyKeystoreStays } from "../../words/stays.js";
import { Confirm, type ConsentWords, LostKeys } from "./lost-keys.js";
import { Notice } from "./notice.js";
import type { Asked } from "./use-status-asked.js";

const WORDS: ConsentWords = {
  button: "Remove",
  purpose: "to remove it",
  note: "Nothing happens before the settings are saved.",
};

interface Props {
  readonly removal: Removal;
  readonly name: string;
  readonly asked: Asked;
  readonly confirm: () => void;
}

/** A refusal, or what is lost and a button that says yes. */
export function RemovalQuestion({ removal, name, asked, confirm }: Props) {
  switch (removal.kind) {
    case "refused":
      return (
        <Notice tone="danger" title="It cannot be removed">
          {whyKeystoreStays(removal)}
        </Notice>
      );
    case "new":
      return (
        <Confirm words={WORDS} confirm={confirm}>
          <p>It was never saved, so no key is in it. What you typed for it is dropped.</p>
        </Confirm>
      );
    case "saved":
      return <LostKeys names={removal.names} name={name} asked={asked} words={WORDS} confirm={confirm} />;
  }
}
