// The receipts' page: a plain verdict first, details after. It works without a network once it was loaded.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Words } from "../lang/en.js";
import type { FromChecker, ToChecker, Verdict } from "../messages.js";
import { Chosen } from "./choices.js";
import { Frame, PLACE, Sentence, type Speech, firstSpeech, save, script, useLanguage, useSpeech } from "./parts.js";
import { ReceiptTools } from "./recorded.js";

/** The vote that a QR code led here with. It is taken out of the address at once, so that it is not shown; the browser's history may have kept it all the same. */
const brought = /^#i=([0-9]{1,15})&e=([A-Za-z0-9_-]+)$/.exec(location.hash);
const FILE_MAX = 1 << 22;
const AGAIN_MS = 60_000;
const GOOD: ReadonlySet<string> = new Set(["counted", "covered", "held", "unasked", "unreachable"]);
const BAD: ReadonlySet<string> = new Set(["dropped", "splitView", "rolledBack", "invalid", "otherElection", "noReceipt", "notThere"]);

function Page({ first, worker }: { first: Speech; worker: Worker }) {
  const [speech, setSpeech] = useLanguage(first);
  const [own, setOwn] = useState<string | undefined>();
  const [verdict, setVerdict] = useState<Verdict>();
  const [busy, setBusy] = useState(false);
  const [ready, setReady] = useState(false);
  const current = useRef<string>();
  /** The newest question, and whether it was asked before: an answer to an older one is of another receipt. */
  const asked = useRef({ n: 0, again: false });
  const shown = useRef<Verdict>();
  const send = (message: ToChecker): void => worker.postMessage(message);
  const check = (text: string): void => {
    current.current = text;
    setBusy(true);
    ask(text, false);
  };
  const ask = (text: string, again: boolean): void => {
    asked.current = { n: asked.current.n + 1, again };
    send({ kind: "check", n: asked.current.n, text });
  };
  useEffect(() => {
    worker.addEventListener("message", ({ data }: MessageEvent<FromChecker>) => {
      if (data.kind === "own") {
        setOwn(data.text);
        if (data.text !== undefined && brought === null) check(data.text);
        return;
      }
      if (data.n !== asked.current.n) return;
      // What signatures have proven stays, with its file, whatever the server shows a minute later; and nothing is said while it is asked again.
      if (asked.current.again && (data.id === "unasked" || shown.current?.id === "dropped" || shown.current?.id === "splitView")) return;
      // A receipt that was upgraded is the one that is looked at from now on.
      if (data.receipt !== undefined) current.current = data.receipt.text;
      setBusy(data.id === "unasked");
      shown.current = data;
      setVerdict(data);
    });
    send({ kind: "open", base: PLACE.base, id: PLACE.id });
    if (brought !== null) {
      history.replaceState(null, "", location.pathname);
      setBusy(true);
      asked.current = { n: 1, again: false };
      send({ kind: "find", n: 1, index: brought[1] ?? "", entry: brought[2] ?? "" });
    }
    // By itself, as long as the page is open: until the final record holds it.
    const timer = setInterval(() => current.current !== undefined && document.visibilityState === "visible" && ask(current.current, true), AGAIN_MS);
    void navigator.serviceWorker?.register(script("offline.js"), { scope: "receipt" }).then(() => navigator.serviceWorker.getRegistration("receipt")).then(async (registration) => {
      const waiting = registration?.installing ?? registration?.waiting;
      if (registration?.active == null && waiting != null) await new Promise<void>((done) => waiting.addEventListener("statechange", () => waiting.state === "activated" && done()));
      setReady(true);
    }).catch(() => undefined);
    return () => clearInterval(timer);
  }, [worker]);
  return (
    <Frame page="receipt" title={speech.say("receiptTitle")} election={verdict?.election} speech={speech} setSpeech={setSpeech}>
      <p>{speech.say("receiptHelp")}</p>
      {/* The verdict alone is announced, and only when it changes: the buttons and details below are not. */}
      <p class="visually-hidden" role="status">{verdict === undefined || (busy && verdict.id === "unasked") ? busy && speech.say("checking") : speech.say(wordOf(verdict))}</p>
      <div data-busy={busy} data-ready={ready}>
        {busy && verdict === undefined && <p>{speech.say("checking")}</p>}
        {verdict !== undefined && <Told verdict={verdict} busy={busy} />}
      </div>
      {brought !== null && <p class="doubt">{speech.say("inHistory")}</p>}
      <Bring own={own} check={check} />
      {ready && <p class="quiet">{speech.say("offlineReady")}</p>}
    </Frame>
  );
}

function wordOf({ id, receipt }: Verdict): keyof Words {
  return id === "unreachable" && receipt === undefined ? "noVote" : (`verdict${id.charAt(0).toUpperCase()}${id.slice(1)}` as "verdictCounted");
}

function Told({ verdict, busy }: { verdict: Verdict; busy: boolean }) {
  const speech = useSpeech();
  const { id, receipt, election, dispute, cancelled, detail } = verdict;
  const blames = dispute !== undefined && (id === "dropped" || id === "splitView" || id === "rolledBack");
  return (
    <section class={BAD.has(id) ? "alarm" : "card"} data-verdict={id}>
      <h2><span class={GOOD.has(id) ? "good" : BAD.has(id) ? "bad" : "doubt"}>{speech.say(wordOf(verdict))}</span></h2>
      {cancelled && <p class="doubt">{speech.say("wasCancelled")}</p>}
      {busy && <p class="quiet">{speech.say("checking")}</p>}
      {blames && <p><button type="button" id="dispute" onClick={() => save("tallyroot-dispute.json", dispute)}>{speech.say("saveDispute")}</button></p>}
      {receipt !== undefined && election !== undefined && (
        <details>
          <summary>{speech.say("details")}</summary>
          <p>{speech.say(receipt.standing === "final" ? "standingFinal" : receipt.standing === "sealed" ? "standingSealed" : "standingRecorded")} {speech.say("detailPlace", { index: receipt.index, cell: receipt.cell })}</p>
          <Chosen election={election} choices={receipt.choices} />
          <p class="quiet"><Sentence name="credential" parts={{ key: <code class="id" dir="ltr">{receipt.credential}</code> }} /></p>
          <ReceiptTools receipt={receipt} />
        </details>
      )}
      {detail !== "" && <details><summary>{speech.say("forExperts")}</summary><p dir="ltr">{detail}</p></details>}
    </section>
  );
}

function Bring({ own, check }: { own: string | undefined; check: (text: string) => void }) {
  const speech = useSpeech();
  const pasted = useRef<HTMLTextAreaElement>(null);
  const read = async (file: File | undefined): Promise<void> => {
    if (file !== undefined) check(file.size > FILE_MAX ? "" : await file.text());
  };
  return (
    <section class="card">
      <p>{own === undefined ? speech.say("ownNone") : <button type="button" id="own" onClick={() => check(own)}>{speech.say("own")}</button>}</p>
      <p><label for="file">{speech.say("open")}</label><br /><input id="file" type="file" accept=".json,application/json" onChange={(event) => void read(event.currentTarget.files?.[0])} /></p>
      <p><label for="paste">{speech.say("paste")}</label><br /><textarea id="paste" ref={pasted} rows={3} dir="ltr" spellcheck={false} autocomplete="off" /></p>
      <p><button type="button" id="check" onClick={() => check(pasted.current?.value.trim() ?? "")}>{speech.say("checkButton")}</button></p>
    </section>
  );
}

async function run(): Promise<void> {
  const root = document.getElementById("app") ?? document.body;
  const first = await firstSpeech();
  root.replaceChildren();
  render(<Page first={first} worker={new Worker(script("receipt-worker.js"), { type: "module" })} />, root);
}

void run();
