// The auditor's corner: the id, the command that needs no page, and what the public files are.
import { render } from "preact";
import { useState } from "preact/hooks";
import { Id } from "../../page/parts.js";
import { Frame, PLACE, type Speech, firstSpeech, useLanguage } from "./parts.js";
import { Code } from "./qr.js";

const COMMAND = `tallyroot-verify audit ${new URL("../..", PLACE.base).href.replace(/\/$/, "")} --election ${PLACE.id}`;
const FILES = [
  ["manifest.json", "fileManifest"], ["results.json", "fileResults"], ["heads/checkpoint", "fileHeads"], ["cells/0/checkpoint", "fileCells"], ["registrars/0/0/checkpoint", "fileRegistrars"],
  [undefined, "fileAnchors"], ["sums.txt", "fileSums"],
] as const;

function Page({ first }: { first: Speech }) {
  const [speech, setSpeech] = useLanguage(first);
  const [copied, setCopied] = useState(false);
  const copy = (): void => void navigator.clipboard?.writeText(COMMAND).then(() => setCopied(true), () => undefined);
  return (
    <Frame page="audit" title={speech.say("auditTitle")} election={undefined} speech={speech} setSpeech={setSpeech}>
      <p>{speech.say("auditHelp")}</p>
      <section class="card">
        <h2>{speech.say("auditId")}</h2>
        <p id="election-id"><Id id={PLACE.id} /></p>
        <p>{speech.say("auditIdHelp")}</p>
        <Code text={PLACE.id} label={speech.say("auditIdCode")} />
      </section>
      <section class="card">
        <h2>{speech.say("auditCommand")}</h2>
        <p>{speech.say("auditCommandHelp")}</p>
        <p><code id="command" dir="ltr">{COMMAND}</code></p>
        <p><button type="button" onClick={copy}>{speech.say("copy")}</button> <span role="status">{copied && speech.say("copied")}</span></p>
      </section>
      <section class="card">
        <h2>{speech.say("auditFiles")}</h2>
        <ul>
          {FILES.map(([name, word]) => <li key={word}>{name === undefined ? <code dir="ltr">anchors/</code> : <a href={name} dir="ltr">{name}</a>}: {speech.say(word)}</li>)}
        </ul>
      </section>
    </Frame>
  );
}

async function run(): Promise<void> {
  const root = document.getElementById("app") ?? document.body;
  const first = await firstSpeech();
  root.replaceChildren();
  render(<Page first={first} />, root);
}

void run();
