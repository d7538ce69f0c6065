import { type Verdict, VERDICTS } from "../../words/verdicts.js";
import { Tag } from "../tag.js";

export function VerdictLabel({ verdict, count }: { readonly verdict: Verdict; readonly count?: number }) {
  const { word, sign, color } = VERDICTS[verdict];
  return (
    <Tag color={color} sign={sign}>
      {count === undefined ? word : `${count} ${word.charAt(0).toLowerCase()}${word.slice(1)}`}
    </Tag>
  );
}
