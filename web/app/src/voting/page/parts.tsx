import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Id, Label } from "../../page/parts.js";
import { LANGUAGES, type Language, Speech as Any, isLanguage, keepLanguage, preferred } from "../../page/words.js";
import { type Words, en } from "../lang/en.js";
import type { ElectionView } from "../messages.js";

export type Speech = Any<Words>;
const SpeechContext = createContext<Speech | undefined>(undefined);

export function useSpeech(): Speech {
  const speech = useContext(SpeechContext);
  if (speech === undefined) throw new Error("no language");
  return speech;
}

/** English is in the page, the others are fetched when asked for. */
export async function speechIn(language: Language): Promise<Speech> {
  if (language === "en") return new Any<Words>(language, en);
  const file = new URL(`vote-${language}.js`, import.meta.url).href;
  return new Any<Words>(language, ((await import(file)) as { words: Words }).words);
}

export function firstSpeech(): Promise<Speech> {
  return speechIn(preferred()).catch(() => speechIn("en"));
}

/** A sentence with something in it that is more than text. */
export function Sentence({ name, values, parts }: { name: keyof Words; values?: Record<string, string | number>; parts: Record<string, ComponentChildren> }) {
  const pieces = useSpeech().say(name, values).split(/\{([a-z]+)\}/i);
  return <>{pieces.map((piece, i) => (i % 2 === 0 ? piece : parts[piece]))}</>;
}

/** Where the page stands: the election's id is in its address; the reader may bring one behind it, which never reaches the server. */
export const PLACE = {
  id: /\/elections\/([0-9a-f]{64})\//.exec(location.pathname)?.[1] ?? "",
  base: new URL(".", location.href).href,
  /** Whatever it is that stands behind `id=`: one that is cut off or misspelt is no id of this election either. */
  brought: /[#&]id=([^&]*)/.exec(location.hash)?.[1]?.toLowerCase().slice(0, 200),
};
// Put into the address of a page that is open already, it is looked at as if the page was opened with it.
addEventListener("hashchange", () => /[#&](id|i)=/.test(location.hash) && location.reload());

type Policy = { createScriptURL(url: string): string };
const policy = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): Policy } }).trustedTypes?.createPolicy("tallyroot", { createScriptURL: (url: string) => url });
/** The address of a script of ours. */
export function script(name: string): string {
  const url = new URL(name, import.meta.url).href;
  return policy?.createScriptURL(url) ?? url;
}

/** Which of the site's pages this is. */
export type PageName = "vote" | "receipt" | "audit";

interface FrameProps { readonly page: PageName; readonly title: string; readonly election: ElectionView | undefined; readonly speech: Speech; readonly setSpeech: (speech: Speech) => void; readonly children: ComponentChildren }

/** What all pages share: language, title, the ways between them, and the id. */
export function Frame({ page, title, election, speech, setSpeech, children }: FrameProps) {
  const name = election?.title ?? title;
  useEffect(() => {
    document.documentElement.lang = speech.language;
    document.documentElement.dir = speech.direction;
    document.title = election === undefined ? title : `${title} – ${election.title}`;
  }, [speech, title, election]);
  const other = PLACE.brought !== undefined && PLACE.brought !== PLACE.id;
  const choose = (value: string): void => {
    if (!isLanguage(value)) return;
    keepLanguage(value);
    void speechIn(value).then(setSpeech, () => undefined);
  };
  const ways = [["vote", "navVote"], ["receipt", "navReceipt"], ["audit", "navAudit"], ["./", "navResults"]] as const;
  return (
    <SpeechContext.Provider value={speech}>
      <a class="skip" href="#content">{speech.say("skip")}</a>
      <header>
        <p class="language">
          <label for="language">{speech.say("language")}</label>{" "}
          <select id="language" value={speech.language} onChange={(event) => choose(event.currentTarget.value)}>
            {Object.entries(LANGUAGES).map(([language, own]) => <option key={language} value={language} lang={language}>{own}</option>)}
          </select>
        </p>
        <nav>
          <ul class="ways">
            {ways.map(([way, word]) => <li key={way}><a href={PLACE.brought === undefined ? way : `${way}#id=${PLACE.brought}`} {...(way === page ? { "aria-current": "page" as const } : {})}>{speech.say(word)}</a></li>)}
          </ul>
        </nav>
        {election?.demo === true && <p class="tag">{speech.say("demo")}</p>}
        <h1><Label text={name} /></h1>
        {election !== undefined && page === "vote" && <p class="quiet">{speech.say("times", { opening: speech.moment(election.opening), closing: speech.moment(election.closing) })}</p>}
      </header>
      <main id="content" tabIndex={-1}>
        {other ? <p class="alarm" role="alert" data-finding="other-id"><Sentence name="idOther" parts={{ id: <Id id={PLACE.brought ?? ""} /> }} /></p> : children}
        {page !== "audit" && <IdCard />}
      </main>
    </SpeechContext.Provider>
  );
}

function IdCard() {
  const speech = useSpeech();
  return (
    <section class="card" aria-labelledby="id-title">
      <h2 id="id-title">{speech.say("idTitle")}</h2>
      <p id="election-id"><Id id={PLACE.id} /></p>
      <p class={PLACE.brought === PLACE.id ? "good" : "quiet"}>{speech.say(PLACE.brought === PLACE.id ? "idSame" : "idHelp")}</p>
    </section>
  );
}

let lastStep: string | undefined;

/** A heading that takes the focus when its step begins: what had it is gone with the step before. Not on a page that was just opened; and before anything is drawn, or what is clicked next would move away. */
export function StepTitle({ children, steps }: { children: ComponentChildren; steps: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    if (lastStep !== undefined && lastStep !== steps) heading.current?.focus();
    lastStep = steps;
  }, [steps]);
  return <h2 ref={heading} tabIndex={-1}>{children}</h2>;
}

/** Gives the user a file. */
export function save(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Draws the page into itself, in the reader's language. */
export function useLanguage(first: Speech): [Speech, (speech: Speech) => void] {
  return useState(first);
}
