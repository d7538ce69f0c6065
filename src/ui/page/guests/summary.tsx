import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import type { StatusOutput } from "../../../generated/status.js";
import { VERDICT_ORDER, VERDICTS } from "../../words/verdicts.js";
import type { Filter } from "./filter.js";
import { headlineOf } from "./headline.js";
import { counted } from "./words.js";

interface Props {
  readonly summary: NonNullable<StatusOutput["summary"]>;
  readonly state: Filter["state"];
  readonly onState: (state: Filter["state"]) => void;
}

/** How the host does: one sentence, and the disks by verdict; each number shows the guests that it counts. */
export function Summary({ summary, state, onState }: Props) {
  const { variant, words } = headlineOf(summary);
  return (
    <section aria-label="Summary" className="luksmith-summary">
      <Alert isInline variant={variant} title={words} component="h2">
        {counted(summary.guests, "guest")} on this host
        {summary.unreadable > 0 && `; ${summary.unreadable} of them could not be looked at`}.
      </Alert>
      <ul className="luksmith-tiles" aria-label="Disks by verdict">
        {VERDICT_ORDER.map((verdict) => {
          const { word, meaning, sign, color } = VERDICTS[verdict];
          const isChosen = state === verdict;
          return (
            <li key={verdict}>
              <button
                type="button"
                className={`luksmith-tile luksmith-${color}`}
                aria-pressed={isChosen}
                aria-describedby={`luksmith-tile-${verdict}`}
                onClick={() => onState(isChosen ? "all" : verdict)}
              >
                <span className="luksmith-tile-count">{summary.disks[verdict]}</span>
                <span>
                  <span aria-hidden="true">{sign}</span> {word}
                </span>
              </button>
              <p id={`luksmith-tile-${verdict}`} className="luksmith-quiet luksmith-tile-meaning">
                {meaning}
              </p>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
