// The voting page: what is drawn. Everything that is secret, and every request, is in its worker.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Choices, Problem, ProblemId, ToVoter, VotingState } from "../messages.js";
import { Contest } from "./ballot.js";
import { Chosen } from "./choices.js";
import { OnRoll } from "./onroll.js";
import { Frame, PLACE, Sentence, type Speech, StepTitle, firstSpeech, save, script, useLanguage, useSpeech } from "./parts.js";
import { Recorded } from "./recorded.js";

const DISHONEST: ReadonlySet<ProblemId> = new Set(["rules", "registrarSignature", "issuance", "wrongVoter", "wrongBallot", "wrongPlace", "notProven"]);
const nothing: VotingState = {
  kind: "state", step: "loading", election: undefined, signed: 0, onRoll: [], busy: false, problem: undefined, castFrom: undefined, choices: undefined, sent: false, receipt: undefined, leave: undefined,
};

type Send = (message: ToVoter) => void;

/** What an identity provider sent the voter back with. It is taken out of the address: whoever comes by the back button or a bookmark does not come with it again. */
const BACK = [location.hash.slice(1), location.search.slice(1)].find((text) => /(^|&)state=/.test(text));
if (BACK !== undefined) history.replaceState(null, "", location.pathname);

function Page({ first, worker }: { first: Speech; worker: Worker | undefined }) {
  const [speech, setSpeech] = useLanguage(first);
  const [state, setState] = useState(nothing);
  useEffect(() => {
    worker?.addEventListener("message", ({ data }: MessageEvent<VotingState | { kind: "forgotten" }>) => (data.kind === "state" ? setState(data) : location.reload()));
    worker?.postMessage({ kind: "open", base: PLACE.base, id: PLACE.id, back: BACK } satisfies ToVoter);
  }, [worker]);
  const send: Send = (message) => worker?.postMessage(message);
  return (
    <Frame page="vote" title={speech.say("navVote")} election={state.election} speech={speech} setSpeech={setSpeech}>
      <div data-step={state.step} data-busy={state.busy}>
        <Course state={state} send={send} />
      </div>
    </Frame>
  );
}

function Course({ state, send }: { state: VotingState; send: Send }) {
  const speech = useSpeech();
  const { step, election, receipt } = state;
  if (!globalThis.isSecureContext) return <p class="alarm">{speech.say("insecure")}</p>;
  if (election === undefined) {
    if (state.problem !== undefined) return <Trouble problem={state.problem} state={state} send={send} />;
    const words = { unreachable: "unreachable", otherWindow: "otherWindow", incapable: "incapable" } as const;
    return <p role="status">{speech.say(words[step as keyof typeof words] ?? "loading")}</p>;
  }
  return (
    <>
      {state.problem !== undefined && <Trouble problem={state.problem} state={state} send={send} />}
      {step === "signIn" && <SignIn state={state} send={send} />}
      {(step === "signIn" || step === "ballot" || step === "waiting") && <OnRoll state={state} />}
      {step === "ballot" && <Ballot state={state} send={send} />}
      {(step === "waiting" || step === "casting" || step === "stopped") && <Waiting state={state} send={send} />}
      {receipt !== undefined && <Recorded election={election} receipt={receipt} forget={() => send({ kind: "forget" })} />}
    </>
  );
}

/** What keeps it from going on, in words; a dishonest answer can be saved. */
function Trouble({ problem, state, send }: { problem: Problem; state: VotingState; send: Send }) {
  const speech = useSpeech();
  const { id, evidence, detail, registrar } = problem;
  const name = registrar === undefined ? "" : state.election?.registrars[registrar] ?? "";
  const again = state.step === "stopped" && state.election !== undefined;
  const dishonest = DISHONEST.has(id);
  return (
    <section class={dishonest ? "alarm" : "card"} role="alert" data-problem={id}>
      {dishonest && <h2>{speech.say("dishonest")}</h2>}
      {name !== "" && <p class="quiet"><bdi dir="auto">{name}</bdi></p>}
      <p class={dishonest ? "" : "doubt"}>{speech.say(id)}</p>
      {dishonest && <p>{speech.say("dishonestHelp")}</p>}
      {evidence !== undefined && <p><button type="button" onClick={() => save("tallyroot-answer.json", evidence)}>{speech.say("saveAnswer")}</button></p>}
      {again && <p><button type="button" id="again" onClick={() => send({ kind: "again" })}>{speech.say("againButton")}</button></p>}
      {detail !== "" && <details><summary>{speech.say("forExperts")}</summary><p dir="ltr">{detail}</p></details>}
    </section>
  );
}

function SignIn({ state, send }: { state: VotingState; send: Send }) {
  const speech = useSpeech();
  const registrars = state.election?.registrars ?? [];
  const form = useRef<HTMLFormElement>(null);
  const submit = (event: Event): void => {
    event.preventDefault();
    const codes = registrars.map((_, r) => form.current?.querySelector<HTMLInputElement>(`#code-${r}`)?.value ?? "");
    if (!state.busy) send({ kind: "sign-in", codes });
  };
  return (
    <section class="card">
      <StepTitle steps="signIn">{speech.say("signIn")}</StepTitle>
      <p>{registrars.length === 1 ? speech.say("signInHelp") : speech.say("signInHelpMany", { count: registrars.length })}</p>
      <form ref={form} onSubmit={submit} autocomplete="off">
        {registrars.map((name, r) => r < state.signed
          ? <p key={r} class="good">✓ <bdi dir="auto">{speech.say("signedAt", { name })}</bdi></p>
          : (
            <p key={r}>
              <label for={`code-${r}`}><bdi dir="auto">{speech.say("codeOf", { name })}</bdi></label><br />
              <input id={`code-${r}`} class="code" dir="ltr" autocomplete="off" autocapitalize="characters" spellcheck={false} maxLength={60} aria-describedby="code-form"
                aria-invalid={state.problem?.registrar === r} />
            </p>
          ))}
        <p id="code-form" class="quiet">{speech.say("codeForm")}</p>
        <p><button type="submit" id="confirm" aria-disabled={state.busy}>{speech.say(state.busy ? "signingIn" : "signInButton")}</button></p>
      </form>
      {state.leave === undefined
        ? (
          <details>
            <summary>{speech.say("noCode")}</summary>
            <p><button type="button" id="account" aria-disabled={state.busy} onClick={() => !state.busy && send({ kind: "account", registrar: state.signed })}>{speech.say("accountButton", { name: registrars[state.signed] ?? "" })}</button></p>
          </details>
        )
        : (
          <div role="status">
            <p><Sentence name="leaveHelp" parts={{ host: <bdi dir="ltr"><b>{state.leave.host}</b></bdi> }} /></p>
            <p><a id="leave" class="button" href={state.leave.page} rel="noreferrer">{speech.say("leaveButton")}</a></p>
          </div>
        )}
      <p class="quiet">{speech.say("remembered")}</p>
      <MayForget opening={state.election?.opening ?? 0} />
    </section>
  );
}

/** Whether the browser has promised to keep what is stored; undefined before it says so. */
const kept = { promised: undefined as boolean | undefined };

/** Without that promise, a credential that waits for weeks may be lost. */
function MayForget({ opening }: { opening: number }) {
  const speech = useSpeech();
  if (kept.promised !== false) return null;
  return <p class="doubt" id="may-forget">{speech.say("mayForget")}{opening > Date.now() && ` ${speech.say("mayForgetEarly", { time: speech.moment(opening) })}`}</p>;
}

function Ballot({ state, send }: { state: VotingState; send: Send }) {
  const speech = useSpeech();
  const { election } = state;
  const [choices, setChoices] = useState<Choices>(state.choices ?? election?.contests.map(() => []) ?? []);
  const [reviewing, setReviewing] = useState(false);
  if (election === undefined) return null;
  const choose = (place: number, change: (chosen: readonly number[]) => readonly number[]): void => setChoices((before) => before.map((old, i) => (i === place ? change(old) : old)));
  if (!reviewing) {
    return (
      <section>
        <StepTitle steps="ballot">{speech.say("ballot")}</StepTitle>
        <p class="quiet">{speech.say("ballotHelp")}</p>
        {election.contests.map((rules, place) => <Contest key={rules.name} rules={rules} place={place} chosen={choices[place] ?? []} choose={(change) => choose(place, change)} />)}
        <p><button type="button" id="review" class="main" onClick={() => setReviewing(true)}>{speech.say("toReview")}</button></p>
      </section>
    );
  }
  return (
    <section class="card">
      <StepTitle steps="review">{speech.say("review")}</StepTitle>
      <p>{speech.say("reviewHelp")}</p>
      <Chosen election={election} choices={choices} />
      {choices.every((chosen) => chosen.length === 0) && <p class="doubt">{speech.say("allBlank")}</p>}
      <p class="tools">
        <button type="button" id="cast" class="main" onClick={() => !state.busy && send({ kind: "cast", choices })}>{speech.say("castButton")}</button>{" "}
        <button type="button" id="change" onClick={() => setReviewing(false)}>{speech.say("changeButton")}</button>
      </p>
    </section>
  );
}

function Waiting({ state, send }: { state: VotingState; send: Send }) {
  const speech = useSpeech();
  const { step, castFrom, election, choices } = state;
  return (
    <section class="card">
      <StepTitle steps="waiting"><span class="doubt">{speech.say(step === "stopped" ? "stopped" : "notCast")}</span></StepTitle>
      <p role="status">
        {step === "waiting" && castFrom !== undefined && speech.say("waitingHelp", { time: speech.moment(castFrom) })}
        {step === "casting" && speech.say("casting")}
      </p>
      <p>{speech.say("keepOpen")}</p>
      {election !== undefined && choices !== undefined && <Chosen election={election} choices={choices} />}
      {!state.sent && step !== "casting" && <p><button type="button" id="change" onClick={() => send({ kind: "change" })}>{speech.say("changeButton")}</button></p>}
    </section>
  );
}

async function run(): Promise<void> {
  const root = document.getElementById("app") ?? document.body;
  const first = await firstSpeech();
  root.replaceChildren();
  // Whoever came with another election's id does nothing here.
  const mine = PLACE.brought === undefined || PLACE.brought === PLACE.id;
  const worker = mine && globalThis.isSecureContext ? new Worker(script("voter.js"), { type: "module" }) : undefined;
  // A promise is kept from one visit to the next; Firefox asks the voter for it, and the page goes on meanwhile.
  const promise = navigator.storage?.persist?.() ?? Promise.resolve(false);
  void promise.catch(() => false).then((promised) => (kept.promised = promised));
  render(<Page first={first} worker={worker} />, root);
}

void run();
