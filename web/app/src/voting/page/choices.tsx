import { Label } from "../../page/parts.js";
import type { Choices, ElectionView } from "../messages.js";
import { useSpeech } from "./parts.js";

/** A ballot in words. */
export function Chosen({ election, choices }: { election: ElectionView; choices: Choices }) {
  const speech = useSpeech();
  return (
    <dl class="chosen">
      {election.contests.map(({ name, options, method }, i) => {
        const chosen = method === "ranked" ? choices[i] ?? [] : [...(choices[i] ?? [])].sort((a, b) => a - b);
        const items = chosen.map((option) => <li key={option}><Label text={options[option] ?? ""} /></li>);
        return (
          <div key={name}>
            <dt><Label text={name} /></dt>
            <dd>{chosen.length === 0 ? <span class="doubt">{speech.say("leftBlank")}</span> : method === "ranked" ? <ol>{items}</ol> : <ul>{items}</ul>}</dd>
          </div>
        );
      })}
    </dl>
  );
}
