import { useState } from "preact/hooks";
import type { ElectionView, ReceiptView } from "../messages.js";
import { Chosen } from "./choices.js";
import { PLACE, Sentence, StepTitle, save, useSpeech } from "./parts.js";
import { Code, fits } from "./qr.js";

/** The end of the course: what is proven, and the receipt. */
export function Recorded({ election, receipt, forget }: { election: ElectionView; receipt: ReceiptView; forget: () => void }) {
  const speech = useSpeech();
  const [sure, setSure] = useState(false);
  const { standing, index, cell } = receipt;
  return (
    <section class="card" data-standing={standing}>
      <div role="status">
        <StepTitle steps="recorded"><span class="good">✓ {speech.say(standing)}</span></StepTitle>
        <p>{speech.say(`${standing}Help`, { index, cell })}</p>
      </div>
      <h3>{speech.say("saveTitle")}</h3>
      <p>{speech.say("saveHelp")}</p>
      <ReceiptTools receipt={receipt} />
      <p><Sentence name="checkIt" parts={{ link: <a href="receipt">{speech.say("navReceipt")}</a> }} /></p>
      <details>
        <summary>{speech.say("yourVote")}</summary>
        <Chosen election={election} choices={receipt.choices} />
        <p class="quiet"><Sentence name="credential" parts={{ key: <code class="id" dir="ltr">{receipt.credential}</code> }} /></p>
      </details>
      <details>
        <summary>{speech.say("forget")}</summary>
        <p>{speech.say("forgetHelp")}</p>
        <p><label class="option"><input type="checkbox" checked={sure} onChange={(event) => setSure(event.currentTarget.checked)} /> {speech.say("forgetSure")}</label></p>
        <p><button type="button" aria-disabled={!sure} onClick={() => sure && forget()}>{speech.say("forget")}</button></p>
      </details>
    </section>
  );
}

/** The receipt as a file, and as a code for another device. */
export function ReceiptTools({ receipt }: { receipt: ReceiptView }) {
  const speech = useSpeech();
  // What stands behind the # never reaches the server.
  const text = `${PLACE.base}receipt#i=${receipt.index}&e=${receipt.entry}`;
  return (
    <>
      <p class="doubt">{speech.say("secretWarning")}</p>
      <p><button type="button" id="download" onClick={() => save("tallyroot-receipt.json", receipt.text)}>{speech.say("download")}</button></p>
      <details>
        <summary>{speech.say("showCode")}</summary>
        {fits(text) ? <><Code text={text} label={speech.say("codeLabel")} /><p class="doubt">{speech.say("codeHistory")}</p></> : <p>{speech.say("codeTooLong")}</p>}
      </details>
    </>
  );
}
