import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { FormGroup } from "@patternfly/react-core/dist/esm/components/Form/index.js";
import { Spinner } from "@patternfly/react-core/dist/esm/components/Spinner/index.js";
import { TextInput } from "@patternfly/react-core/dist/esm/components/TextInput/index.js";
import { type ReactNode, useState } from "react";
import { type KeysInUse, keysInUse } from "../../form/usage.js";
import { Notice } from "./notice.js";
import { Trouble } from "./trouble.js";
import type { Asked } from "./use-status-asked.js";

/** Disks that are named one by one; more are counted. */
const NAMED = 10;

interface Props {
  /** What the host calls the keystores that it is about. */
  readonly names: readonly string[];
  /** What the form calls it. */
  readonly name: string;
  readonly asked: Asked;
  readonly words: ConsentWords;
  readonly confirm: () => void;
}

/** How the question ends. */
export interface ConsentWords {
  readonly button: string;
  /** What the button does, for a sentence: `to remove it`. */
  readonly purpose: string;
  readonly note: string;
}

/** Which disks do not open without the keystore, and a button that says yes. */
export function LostKeys({ names, name, asked, words, confirm }: Props) {
  switch (asked.kind) {
    case "asking":
      return (
        <p role="status">
          <Spinner size="sm" aria-hidden="true" /> Looking for disks whose key is in it…
        </p>
      );
    case "failed":
      return (
        <ConfirmByName name={name} words={words} confirm={confirm}>
          <Trouble error={asked.error} title="Whether keys of disks are in it could not be found out">
            <p>Disks whose key is in it do not open without it.</p>
          </Trouble>
        </ConfirmByName>
      );
    case "known": {
      const inUse = keysInUse(asked.status, names);
      if (inUse.disks.length > 0 || inUse.unknown > 0) {
        return (
          <ConfirmByName name={name} words={words} confirm={confirm}>
            <Lost inUse={inUse} name={name} />
          </ConfirmByName>
        );
      }
      return (
        <Confirm words={words} confirm={confirm}>
          <p>
            No disk of this host has its key in it. Other hosts and backups may need keys from it all the
            same.
          </p>
        </Confirm>
      );
    }
  }
}

function Lost({ inUse: { disks, unknown }, name }: { readonly inUse: KeysInUse; readonly name: string }) {
  const more = disks.length > NAMED ? ` and ${disks.length - NAMED} more` : "";
  return (
    <>
      {disks.length > 0 && (
        <Notice
          tone="danger"
          title={`${disks.length === 1 ? "1 disk has its key" : `${disks.length} disks have their keys`} in it`}
        >
          <p>{`Without it they do not open: ${disks.slice(0, NAMED).join(", ")}${more}.`}</p>
          <p>
            {"Keep it beside the new one and move the keys first: "}
            <code>{`luksmith keys migrate --from ${name} --to NAME`}</code>
          </p>
        </Notice>
      )}
      {unknown > 0 && (
        <Notice
          tone="warning"
          title={`Of ${unknown === 1 ? "1 disk or guest" : `${unknown} disks or guests`} nobody knows where the keys are: they may be in it`}
        />
      )}
    </>
  );
}

interface ConfirmProps {
  readonly words: ConsentWords;
  readonly confirm: () => void;
  readonly children: ReactNode;
}

export function Confirm({ words, confirm, children }: ConfirmProps) {
  return (
    <>
      {children}
      <p>{words.note}</p>
      <Button variant="danger" onClick={confirm}>
        {words.button}
      </Button>
    </>
  );
}

/** For what hurts: nobody types a name by accident. */
function ConfirmByName({ name, words, confirm, children }: ConfirmProps & { readonly name: string }) {
  const [typed, setTyped] = useState("");
  return (
    <>
      {children}
      <FormGroup label={`Type ${name} ${words.purpose} all the same`} fieldId="luksmith-keystore-name">
        <TextInput
          id="luksmith-keystore-name"
          type="text"
          autoComplete="off"
          value={typed}
          onChange={(_, text) => setTyped(text)}
        />
      </FormGroup>
      <p>{words.note}</p>
      <Button variant="danger" isDisabled={typed !== name || name === ""} onClick={confirm}>
        {`${words.button} all the same`}
      </Button>
    </>
  );
}
