import { useState } from "preact/hooks";
import type { Words } from "../lang/en.js";
import type { Check, Finding, FindingId, Snapshot } from "../messages.js";
import { Command, Id, Sentence, useSpeech } from "./parts.js";
import type { Speech } from "./words.js";

const NAMES: Readonly<Record<Check["id"], keyof Words>> = {
  rules: "checkRules", numbers: "checkNumbers", tallies: "checkTallies", complete: "checkComplete", signatures: "checkSignatures", growth: "checkGrowth", heads: "checkHeads", notices: "checkNotices",
  witnesses: "checkWitnesses", anchors: "checkAnchors", outcome: "checkOutcome",
};
const OTHERS: Readonly<Record<string, keyof Words>> = {
  "complete behind": "checkCompleteBehind", "complete ended": "checkCompleteEnded", "signatures spare": "checkSignaturesSpare", "signatures heads": "checkSignaturesHeads", "growth visits": "checkGrowthVisits", "witnesses none": "checkWitnessesNone", "witnesses short": "checkWitnessesShort", "anchors short": "checkAnchorsShort", "outcome ranked": "checkOutcomeRanked",
  "outcome cancelled": "checkOutcomeCancelled",
};

function words(speech: Speech, check: Check, id: string): string {
  const name = check.id === "witnesses" && check.state === "waiting" ? "checkWitnessesWaiting" : (OTHERS[`${check.id} ${check.note}`] ?? NAMES[check.id]);
  const time = typeof check.values["time"] === "number" ? { time: speech.moment(check.values["time"]) } : {};
  return speech.say(name, { ...check.values, ...time, id: `${id.slice(0, 8)}…` });
}

/** What was verified, against what; and what was not. */
export function Proof({ snapshot, compared }: { snapshot: Snapshot; compared: boolean }) {
  const speech = useSpeech();
  const { election, results, checks } = snapshot;
  const ranked = results?.status === "final" && election?.contests.some(({ method }) => method === "ranked") === true;
  return (
    <section id="proof" class="card" aria-labelledby="proof-heading" tabIndex={-1}>
      <h2 id="proof-heading">{speech.say("proof")}</h2>
      <p class="quiet">{speech.say("proofIntro")}</p>
      <ul class="checks">
        {checks.map((check) => (
          <li key={check.id} data-check={check.id} data-state={check.state}>
            <span class={`state ${check.state}`}>{speech.say(check.state)}</span>
            <span>{words(speech, check, election?.id ?? "")}</span>
          </li>
        ))}
      </ul>
      <h3>{speech.say("limits")}</h3>
      <ul>
        <li><Sentence name="limitSelf" parts={{ command: <Command {...(election === undefined ? {} : { id: election.id })} /> }} /></li>
        {!compared && <li>{speech.say("limitId")}</li>}
        <li>{speech.say("limitBallots")}</li>
        <li>{speech.say("limitOthers")}</li>
        <li>{speech.say("limitVoters")}</li>
        {ranked && <li>{speech.say("limitRounds")}</li>}
      </ul>
    </section>
  );
}

const FOUND: Readonly<Record<FindingId, keyof Words>> = {
  rules: "findRules", "other-election": "findOtherElection", labels: "findLabels", sums: "findSums", contradiction: "findContradiction", proof: "findProof", signature: "findSignature",
  fork: "findFork", "heads-differ": "findHeadsDiffer", "heads-proof": "findHeadsProof", "head-falls": "findHeadFalls", files: "findFiles", recount: "findRecount",
  "final-changed": "findFinalChanged", "final-sizes": "findFinalSizes", anchor: "findAnchor", notice: "findNotice", "other-id": "findOtherId",
};

export const isFinding = (id: unknown): id is FindingId => typeof id === "string" && Object.hasOwn(FOUND, id);

/** The warning, which stays. */
export function Caught({ findings, shown, id }: { findings: readonly Finding[]; shown: boolean; id: string }) {
  const speech = useSpeech();
  return (
    <div class="alarm" role="alert">
      <h2>{speech.say("caught")}</h2>
      <p>{speech.say("caughtIntro")}</p>
      <ul>
        {findings.map((finding) => (
          <li key={`${finding.id} ${finding.cell}`} data-finding={finding.id}>
            <p>
              {speech.say(FOUND[finding.id])} {finding.cell !== undefined && speech.say("inCell", { cell: finding.cell })} <span class="quiet">{speech.say("caughtAt", { time: speech.moment(finding.at) })}</span>
            </p>
            <details><summary>{speech.say("caughtDetail")}</summary><p><code><bdi dir="auto">{finding.detail}</bdi></code></p></details>
          </li>
        ))}
      </ul>
      <p>{speech.say(shown ? "caughtKept" : "caughtNone")}</p>
      <p><Sentence name="caughtDo" parts={{ command: <Command id={id} /> }} /> {speech.say("caughtStays")}</p>
      <button type="button" onClick={() => save(findings, id)}>{speech.say("caughtSave")}</button>
    </div>
  );
}

/** One file with all findings; a split view as a file of its own, in the form that every verifier reads. */
function save(findings: readonly Finding[], id: string): void {
  const give = (name: string, text: string): void => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
  give(`findings-${id.slice(0, 8)}.json`, JSON.stringify({ election: id, page: location.href, findings }, null, 1));
  findings.forEach(({ evidence }, i) => evidence !== undefined && give(`split-view-${id.slice(0, 8)}-${i}.json`, evidence));
}

/** The id, and a place to compare it with one from elsewhere. */
export function Fingerprint({ id, compared, setCompared }: { id: string; compared: boolean | undefined; setCompared: (same: boolean) => void }) {
  const speech = useSpeech();
  const [text, setText] = useState("");
  const [bad, setBad] = useState(false);
  const compare = (event: Event): void => {
    event.preventDefault();
    const typed = text.toLowerCase().replace(/[\s…-]/g, "");
    const valid = /^[0-9a-f]{64}$/.test(typed);
    setBad(!valid);
    if (valid) setCompared(typed === id);
  };
  return (
    <section class="card" aria-labelledby="fingerprint">
      <h2 id="fingerprint">{speech.say("fingerprint")}</h2>
      <p><Id id={id} /></p>
      <p class="quiet">{speech.say("fingerprintHelp")}</p>
      <form class="find" onSubmit={compare}>
        <label for="other-id">{speech.say("compare")}</label>
        <input id="other-id" dir="ltr" autocomplete="off" autocapitalize="off" spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <button type="submit">{speech.say("compareButton")}</button>
      </form>
      <p role="status" class={bad ? "doubt" : compared === false ? "bad" : "good"}>
        {bad ? speech.say("compareBad") : compared === undefined ? "" : speech.say(compared ? "compareSame" : "compareOther")}
      </p>
    </section>
  );
}
