import { useMemo, useState } from "preact/hooks";
import type { ContestRules, ContestView, ResultsView } from "../messages.js";
import { Flow, Rounds } from "./flow.js";
import { lookalikes } from "./lookalikes.js";
import { Label, Sentence, useSpeech } from "./parts.js";

/** So many options are shown before somebody asks for all. */
const FIRST = 20;

export function Contests({ rules, results }: { rules: readonly ContestRules[]; results: ResultsView }) {
  return (
    <>
      {rules.map((contest, c) => {
        const view = results.contests[c];
        return view === undefined ? null : <Contest key={c} number={c} rules={contest} view={view} results={results} />;
      })}
    </>
  );
}

function Contest({ number, rules, view, results }: { number: number; rules: ContestRules; view: ContestView; results: ResultsView }) {
  const speech = useSpeech();
  const heading = `contest-${number}`;
  return (
    <section class="card" aria-labelledby={heading}>
      <h2 id={heading}><Label text={rules.name} /></h2>
      {results.status === "final" && <Outcome rules={rules} view={view} />}
      <p class="quiet">{speech.say(rules.method)}</p>
      <Counts number={number} rules={rules} view={view} votes={results.votes} />
      <Lookalikes options={rules.options} />
      {view.rounds !== undefined && view.rounds.length > 1 && (
        <>
          <h3>{speech.say("rounds")}</h3>
          <p class="quiet">{speech.say("roundsHelp")}</p>
          <Flow rules={rules} rounds={view.rounds} />
          <Rounds rules={rules} rounds={view.rounds} />
        </>
      )}
    </section>
  );
}

function Outcome({ rules, view }: { rules: ContestRules; view: ContestView }) {
  const speech = useSpeech();
  const name = view.winner === undefined ? undefined : rules.options[view.winner];
  return (
    <p class="winner">
      {name === undefined ? speech.say("noWinner") : <Sentence name="winner" parts={{ name: <strong><Label text={name} /></strong> }} />}
      {view.tieBroken === true && <> {speech.say("tieBroken")}</>}
    </p>
  );
}

function Counts({ number, rules, view, votes }: { number: number; rules: ContestRules; view: ContestView; votes: number }) {
  const speech = useSpeech();
  const [all, setAll] = useState(false);
  const [wanted, setWanted] = useState("");
  const filled = votes - view.blanks;
  const order = useMemo(
    () => rules.options.map((_, option) => option).sort((a, b) => (view.counts[b] ?? 0) - (view.counts[a] ?? 0) || a - b),
    [rules, view.counts],
  );
  const long = rules.options.length > FIRST;
  const matching = wanted === "" ? order : order.filter((option) => rules.options[option]?.toLowerCase().includes(wanted.toLowerCase()));
  const shown = all ? matching : matching.slice(0, FIRST);
  return (
    <>
      {long && (
        <p class="find">
          <label for={`find-${number}`}>{speech.say("find")}</label>
          <input id={`find-${number}`} type="search" dir="auto" autocomplete="off" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
          {wanted !== "" && <span role="status">{speech.say("matching", { count: matching.length })}</span>}
        </p>
      )}
      <table class="counts">
        <thead>
          <tr><th scope="col">{speech.say("option")}</th><th scope="col">{speech.say("votes")}</th><th scope="col">{speech.say("share")}</th></tr>
        </thead>
        <tbody>
          {shown.map((option) => {
            const count = view.counts[option] ?? 0;
            const share = filled > 0 ? Math.min(count / filled, 1) : 0;
            return (
              <tr key={option}>
                <th scope="row">
                  <Label text={rules.options[option] ?? ""} />
                  <div class="track" aria-hidden="true"><div class={view.winner === option ? "bar won" : "bar"} style={{ inlineSize: `${(100 * share).toFixed(2)}%` }} /></div>
                </th>
                <td>{speech.count(count)}</td>
                <td>{speech.share(share)}</td>
              </tr>
            );
          })}
        </tbody>
        <tfoot>
          <tr><th scope="row">{speech.say("blank")}</th><td>{speech.count(view.blanks)}</td><td>–</td></tr>
        </tfoot>
      </table>
      {long && matching.length > FIRST && (
        <button type="button" aria-expanded={all} onClick={() => setAll(!all)}>{all ? speech.say("showFewer", { count: FIRST }) : speech.say("showAll", { count: matching.length })}</button>
      )}
    </>
  );
}

/** A warning that no name can hide behind another. */
function Lookalikes({ options }: { options: readonly string[] }) {
  const speech = useSpeech();
  const groups = useMemo(() => lookalikes(options).slice(0, 10), [options]);
  if (groups.length === 0) return null;
  return (
    <ul class="doubt">
      {groups.map((group) => (
        <li key={group[0]}>
          {group.slice(0, 5).map((option, i) => <>{i > 0 && " · "}<Label key={option} text={options[option] ?? ""} /></>)}: {speech.say("spelled", { numbers: group.slice(0, 5).map((option) => speech.count(option + 1)).join(", ") })}
        </li>
      ))}
    </ul>
  );
}
