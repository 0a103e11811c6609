import type { NotRecounted, Recounted } from "../messages.js";
import { useSpeech } from "./parts.js";

export interface CrowdState {
  readonly pieces: number;
  readonly votes: number;
  readonly bytes: number;
  readonly last: Recounted | undefined;
  readonly missed: NotRecounted["why"] | undefined;
  readonly running: boolean;
  readonly auto: boolean;
  readonly saving: boolean;
}

/** What this browser has recounted for everybody, and what that cannot find. */
export function Crowd({ state, again, setAuto }: { state: CrowdState; again: () => void; setAuto: (auto: boolean) => void }) {
  const speech = useSpeech();
  const { pieces, votes, bytes, last, missed, running, auto, saving } = state;
  const why = { empty: "crowdEmpty", long: "crowdLong", unreachable: "crowdUnreachable" } as const;
  return (
    <section class="card" aria-labelledby="crowd" data-pieces={pieces}>
      <h2 id="crowd">{speech.say("crowd")}</h2>
      <p class="quiet">{speech.say("crowdHelp")}</p>
      <p>{pieces === 0 ? speech.say("crowdNone") : speech.say("crowdDone", { votes, pieces, data: speech.size(bytes) })}</p>
      {last !== undefined && (
        <p class="good">{speech.say("crowdLast", { from: last.from, to: last.to - 1, cell: last.cell, votes: last.votes, seconds: speech.rate(last.ms / 1000) })}</p>
      )}
      {missed !== undefined && <p class="doubt">{speech.say(why[missed])}</p>}
      {saving && <p class="quiet">{speech.say("crowdSaving")}</p>}
      <p class="find">
        <button type="button" aria-disabled={running} onClick={() => running || again()}>{speech.say(running ? "crowdRunning" : "crowdAgain")}</button>
        <label><input type="checkbox" checked={auto} onChange={(event) => setAuto(event.currentTarget.checked)} /> {speech.say("crowdAuto")}</label>
      </p>
      <p class="quiet">{speech.say("crowdLimit")}</p>
    </section>
  );
}
