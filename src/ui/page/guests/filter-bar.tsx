import { FormSelect, FormSelectOption } from "@patternfly/react-core/dist/esm/components/FormSelect/index.js";
import { TextInput } from "@patternfly/react-core/dist/esm/components/TextInput/index.js";
import { VERDICT_ORDER, VERDICTS } from "../../words/verdicts.js";
import type { Filter } from "./filter.js";

interface Props {
  readonly filter: Filter;
  readonly onFilter: (filter: Filter) => void;
}

export function FilterBar({ filter, onFilter }: Props) {
  return (
    <form role="search" className="luksmith-filter" onSubmit={(event) => event.preventDefault()}>
      <TextInput
        type="search"
        aria-label="Find by name"
        placeholder="Find by name"
        value={filter.text}
        onChange={(_event, text) => onFilter({ ...filter, text })}
      />
      <FormSelect
        aria-label="Show guests"
        value={filter.state}
        onChange={(_event, value) => {
          const state = STATES.find((name) => name === value);
          if (state !== undefined) onFilter({ ...filter, state });
        }}
      >
        {STATES.map((state) => (
          <FormSelectOption key={state} value={state} label={labelOf(state)} />
        ))}
      </FormSelect>
    </form>
  );
}

const STATES = ["all", "refused", ...VERDICT_ORDER] as const;

function labelOf(state: Filter["state"]): string {
  if (state === "all") return "All guests";
  if (state === "refused") return "Guests that would not start";
  return `Guests with a disk: ${VERDICTS[state].word.toLowerCase()}`;
}
