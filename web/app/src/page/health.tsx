import { useState } from "preact/hooks";
import type { CellView } from "../messages.js";
import { useSpeech } from "./parts.js";

const FIRST = 16;

export function Health({ cells }: { cells: readonly CellView[] }) {
  const speech = useSpeech();
  const [all, setAll] = useState(false);
  const state = { open: "stateOpen", closed: "stateClosed", stale: "stateStale" } as const;
  return (
    <section class="card" aria-labelledby="health">
      <h2 id="health">{speech.say("health")}</h2>
      <p class="quiet">{speech.say("healthHelp")}</p>
      <div class="scroll" tabIndex={0} role="group" aria-labelledby="health">
        <table class="health">
          <thead>
            <tr>{(["cell", "state", "votes", "entries", "newest"] as const).map((name) => <th key={name} scope="col">{speech.say(name)}</th>)}</tr>
          </thead>
          <tbody>
            {cells.slice(0, all ? undefined : FIRST).map((cell, k) => (
              <tr key={k}>
                <th scope="row">{speech.count(k)}</th>
                <td class={cell.state === "stale" ? "doubt" : ""}>{speech.say(cell.state === undefined ? "stateUnknown" : state[cell.state])}</td>
                <td>{speech.count(cell.votes)}</td>
                <td>{speech.count(cell.size)}</td>
                <td>{cell.time === undefined ? "–" : speech.at(cell.time)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {cells.length > FIRST && !all && <button type="button" onClick={() => setAll(true)}>{speech.say("showAll", { count: cells.length })}</button>}
    </section>
  );
}
