import { Label } from "../../page/parts.js";
import type { VotingState } from "../messages.js";
import { Sentence, useSpeech } from "./parts.js";

/** In whose name the credential was issued: the registrars have proven it, and only the voter can tell whether it is she. */
export function OnRoll({ state }: { state: VotingState }) {
  const speech = useSpeech();
  const { onRoll, election } = state;
  const [first] = onRoll;
  if (first === undefined) return null;
  const same = onRoll.every(({ index }) => index === first.index);
  return (
    <section class={same ? "card" : "alarm"} data-on-roll={onRoll.map(({ index }) => index).join()}>
      {same
        ? <p><Sentence name="onRoll" values={{ index: first.index }} parts={{ identity: <Label text={first.identity} /> }} /></p>
        : (
          <>
            <p role="alert">{speech.say("onRollOthers")}</p>
            <ul>
              {onRoll.map(({ identity, index }, r) => (
                <li key={r}><Sentence name="onRollOf" values={{ index }} parts={{ name: <bdi dir="auto">{election?.registrars[r] ?? ""}</bdi>, identity: <Label text={identity} /> }} /></li>
              ))}
            </ul>
          </>
        )}
      <details>
        <summary>{speech.say("forExperts")}</summary>
        {onRoll.filter(({ index }, r) => onRoll.findIndex((other) => other.index === index) === r).map(({ index, salt }) => <p key={index} class="id" dir="ltr">roll index {index}, salt {salt}</p>)}
      </details>
    </section>
  );
}
