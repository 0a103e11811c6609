import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Point, Snapshot } from "../messages.js";
import { Contests } from "./contests.js";
import { Crowd, type CrowdState } from "./crowd.js";
import { Health } from "./health.js";
import { Command, Label, Sentence, SpeechContext, useSpeech } from "./parts.js";
import { Caught, Fingerprint, Proof } from "./proof.js";
import { merged, rate, total } from "./series.js";
import { Timeline } from "./timeline.js";
import { LANGUAGES, type Language, type Speech } from "./words.js";

const ANNOUNCE_MS = 15_000;

export interface Shown {
  readonly id: string;
  readonly base: string;
  readonly bundle: string;
  readonly speech: Speech;
  readonly snapshot: Snapshot;
  readonly history: readonly (readonly Point[])[];
  readonly crowd: CrowdState;
  readonly compared: boolean | undefined;
}

export interface Actions {
  setLanguage(language: Language): void;
  again(): void;
  setAuto(auto: boolean): void;
  setCompared(same: boolean): void;
  forget(): void;
}

export function App({ shown, actions }: { shown: Shown; actions: Actions }) {
  const { speech, snapshot, crowd, compared } = shown;
  const { election, results, findings } = snapshot;
  const points = useMemo(
    () => total(snapshot.cells.map(({ points, votes }, k) => merged(shown.history[k] ?? [], points, votes))),
    [snapshot.cells, shown.history],
  );
  const contests = useMemo(
    () => election !== undefined && results !== undefined && <Contests rules={election.contests} results={results} />,
    [election, results, speech],
  );
  return (
    <SpeechContext.Provider value={speech}>
      <a class="skip" href="#results">{speech.say("skip")}</a>
      <Header snapshot={snapshot} setLanguage={actions.setLanguage} />
      <main>
        {findings.length > 0 && <Caught findings={findings} shown={results !== undefined} id={shown.id} />}
        {snapshot.incapable && <p class="alarm"><Sentence name={globalThis.isSecureContext ? "incapable" : "insecure"} parts={{ command: <Command /> }} /></p>}
        {snapshot.stuckSince !== undefined && <p class="doubt" role="status">{speech.say("stuck", { time: speech.moment(snapshot.stuckSince) })}</p>}
        <div id="results" tabIndex={-1}>
          {election !== undefined && results !== undefined && (
            <>
              <Totals snapshot={snapshot} points={points} />
              {contests}
              <Timeline points={points} />
              <Health cells={snapshot.cells} />
            </>
          )}
        </div>
        {election !== undefined && <Proof snapshot={snapshot} compared={compared === true} />}
        {election !== undefined && !snapshot.incapable && <Crowd state={crowd} again={actions.again} setAuto={actions.setAuto} />}
        <Fingerprint id={shown.id} compared={compared} setCompared={actions.setCompared} />
      </main>
      <Footer shown={shown} forget={actions.forget} />
      <Announcer snapshot={snapshot} />
    </SpeechContext.Provider>
  );
}

function Header({ snapshot, setLanguage }: { snapshot: Snapshot; setLanguage: (language: Language) => void }) {
  const speech = useSpeech();
  const { election, results, head } = snapshot;
  const title = election?.title ?? speech.say("title");
  useEffect(() => {
    document.title = election === undefined ? title : `${title} – ${speech.say("title")}`;
  }, [title, speech]);
  const cancelled = results?.status === "cancelled" || head?.cancelled === true;
  const nothing = snapshot.findings.length > 0 || snapshot.incapable ? "noResults" : "loading";
  const status = cancelled ? "cancelled" : results === undefined ? nothing : results.status;
  const closing = head?.closing ?? election?.closing ?? 0;
  return (
    <header>
      <p class="language">
        <label for="language">{speech.say("language")}</label>{" "}
        <select id="language" value={speech.language} onChange={(event) => setLanguage(event.currentTarget.value as Language)}>
          {Object.entries(LANGUAGES).map(([language, name]) => <option key={language} value={language} lang={language}>{name}</option>)}
        </select>
      </p>
      {election?.demo === true && <p class="tag">{speech.say("demo")}</p>}
      <h1><Label text={title} /></h1>
      <p id="status" class="quiet">{speech.say(status)}</p>
      {election !== undefined && (
        <p class="quiet">{speech.say(closing > election.closing ? "timesExtended" : "times", { opening: speech.moment(election.opening), closing: speech.moment(closing) })}</p>
      )}
      <Ways open={snapshot.findings.length === 0 && !cancelled && (results === undefined || results.status === "open")} />
      <Badge snapshot={snapshot} />
      <p id="connection" class="quiet" data-connection={snapshot.connection}>
        {speech.say(snapshot.connection)}
        {snapshot.verifiedAt !== undefined && <> · {speech.say("updated", { time: speech.at(snapshot.verifiedAt) })}</>}
      </p>
    </header>
  );
}

/** To the site's other pages; the id that the reader brought goes along. Nobody is sent to vote where it is over, or where something was caught. */
function Ways({ open }: { open: boolean }) {
  const speech = useSpeech();
  const brought = /[#&](id=[0-9a-f]{64})\b/.exec(location.hash)?.[1];
  const way = (page: string): string => (brought === undefined ? page : `${page}#${brought}`);
  return (
    <p>
      {open && <><a href={way("vote")}>{speech.say("wayVote")}</a> · </>}
      <a href={way("receipt")}>{speech.say("wayReceipt")}</a> · <a href={way("audit")}>{speech.say("wayAudit")}</a>
    </p>
  );
}

type BadgeState = "caught" | "incapable" | "waiting" | "partly" | "verified";

export function badgeOf({ findings, incapable, results, checks }: Snapshot): BadgeState {
  if (findings.length > 0) return "caught";
  if (incapable) return "incapable";
  if (results === undefined) return "waiting";
  return checks.every(({ state }) => state === "verified") ? "verified" : "partly";
}

function Badge({ snapshot }: { snapshot: Snapshot }) {
  const speech = useSpeech();
  const state = badgeOf(snapshot);
  const names = { caught: "badgeCaught", incapable: "badgeIncapable", waiting: "badgeWaiting", partly: "badgePartly", verified: "badgeVerified" } as const;
  return <p><a id="badge" class={`badge ${state}`} href="#proof">{speech.say(names[state])}</a></p>;
}

function Totals({ snapshot, points }: { snapshot: Snapshot; points: readonly Point[] }) {
  const speech = useSpeech();
  const { election, results } = snapshot;
  const votes = results?.votes ?? 0;
  const roll = election?.roll ?? 0;
  const speed = rate(points);
  const total = (name: "votes" | "turnout" | "abstentions" | "rate", value: string, help?: string) => (
    <div><dt>{speech.say(name)}</dt><dd><b id={`total-${name}`}>{value}</b>{help !== undefined && <span class="quiet">{help}</span>}</dd></div>
  );
  return (
    <dl class="totals">
      {total("votes", speech.count(votes))}
      {total("turnout", speech.share(roll === 0 ? 0 : votes / roll), speech.say("turnoutHelp", { roll }))}
      {total("abstentions", speech.count(results?.abstentions ?? 0), speech.say("abstentionsHelp"))}
      {total("rate", speed === undefined ? "–" : speech.rate(speed), speech.say("rateHelp"))}
    </dl>
  );
}

function Footer({ shown, forget }: { shown: Shown; forget: () => void }) {
  const speech = useSpeech();
  return (
    <footer class="quiet">
      <p>{speech.say("files")}: <a href="results.json">results.json</a> · <a href="manifest.json">manifest.json</a></p>
      <p>
        <Sentence name="bundle" parts={{ hash: <code class="id" dir="ltr">{shown.bundle}</code> }} /> <Sentence name="bundleHelp" parts={{ file: <a href="sums.txt">sums.txt</a> }} />
      </p>
      <p><button type="button" onClick={forget}>{speech.say("forget")}</button></p>
    </footer>
  );
}

/** A sentence now and then for screen readers, not one for every vote. */
function Announcer({ snapshot }: { snapshot: Snapshot }) {
  const speech = useSpeech();
  const [text, setText] = useState("");
  const last = useRef({ at: -ANNOUNCE_MS, status: "" });
  const { results } = snapshot;
  useEffect(() => {
    if (results === undefined) return;
    const now = performance.now();
    if (now - last.current.at < ANNOUNCE_MS && last.current.status === results.status) return;
    last.current = { at: now, status: results.status };
    setText(`${results.status === "open" ? "" : `${speech.say(results.status)}. `}${speech.say("announceVotes", { votes: results.votes })}`);
  }, [results, speech]);
  return <p class="visually-hidden" role="status">{text}</p>;
}
