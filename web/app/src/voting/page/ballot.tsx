import { memo } from "preact/compat";
import { useMemo, useState } from "preact/hooks";
import { lookalikes } from "../../page/lookalikes.js";
import { Label } from "../../page/parts.js";
import type { ContestRules } from "../messages.js";
import { Ranked } from "./ranked.js";
import { Sentence, useSpeech } from "./parts.js";

/** With more options, they can be searched. */
const MANY = 20;

export interface ContestProps { readonly rules: ContestRules; readonly place: number; readonly chosen: readonly number[]; readonly choose: (change: (chosen: readonly number[]) => readonly number[]) => void }

export function Contest(props: ContestProps) {
  const { rules, place } = props;
  const speech = useSpeech();
  const alike = useMemo(() => lookalikes(rules.options), [rules]);
  const [wanted, setWanted] = useState("");
  const shown = useMemo(() => matching(rules.options, wanted), [rules, wanted]);
  return (
    <fieldset class="card" data-contest={place}>
      <legend><h3><Label text={rules.name} /></h3></legend>
      <p class="quiet">{speech.say(rules.method)}</p>
      {alike.map((group) => (
        <p class="doubt" key={group.join()}><Sentence name="alike" parts={{ names: group.map((option, i) => <span key={option}>{i > 0 && " · "}<Label text={rules.options[option] ?? ""} /></span>) }} /></p>
      ))}
      {rules.options.length > MANY && (
        <p class="find">
          <label for={`find-${place}`}>{speech.say("filter")}</label>
          <input id={`find-${place}`} type="search" autocomplete="off" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
          <span role="status">{wanted !== "" && speech.say("filtered", { count: shown.length })}</span>
        </p>
      )}
      {rules.method === "ranked" ? <Ranked {...props} shown={shown} /> : <Marks {...props} shown={shown} />}
    </fieldset>
  );
}

function matching(options: readonly string[], wanted: string): readonly number[] {
  const fold = (text: string): string => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const needle = fold(wanted.trim());
  return options.flatMap((option, i) => (fold(option).includes(needle) ? [i] : []));
}

function Marks({ rules, place, chosen, choose, shown }: ContestProps & { readonly shown: readonly number[] }) {
  const speech = useSpeech();
  const one = rules.method === "plurality";
  const mark = (option: number, on: boolean): void => choose((before) => (one ? [option] : [...before.filter((other) => other !== option), ...(on ? [option] : [])]));
  // What is chosen stays in sight, whatever is searched.
  const list = [...new Set([...chosen.filter((option) => !shown.includes(option)), ...shown])];
  const marked = new Set(chosen);
  return (
    <ul class="options">
      {list.map((option) => <Mark key={option} one={one} place={place} option={option} label={rules.options[option] ?? ""} on={marked.has(option)} mark={mark} />)}
      {one && (
        <li><label class="option quiet"><input type="radio" name={`contest-${place}`} checked={chosen.length === 0} onChange={() => choose(() => [])} /> {speech.say("blank")}</label></li>
      )}
    </ul>
  );
}

interface MarkProps { readonly one: boolean; readonly place: number; readonly option: number; readonly label: string; readonly on: boolean; readonly mark: (option: number, on: boolean) => void }

/** There may be 4,096 of them: only those that changed are drawn again. */
const Mark = memo(({ one, place, option, label, on, mark }: MarkProps) => (
  <li>
    <label class="option">
      <input type={one ? "radio" : "checkbox"} name={`contest-${place}`} data-option={option} checked={on} onChange={(event) => mark(option, event.currentTarget.checked)} /> <Label text={label} />
    </label>
  </li>
), (before, now) => before.on === now.on && before.label === now.label);
