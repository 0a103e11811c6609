// The worker behind the receipts' page. A receipt is judged by itself first, which needs nobody; then beside what the ledger shows.
import { type Receipt, VerifierError, cellOf, fromBase64, fromUtf8, openManifest, parseEntry, utf8, verifyReceipt } from "../../../../verifier/src/index.js";
import { canVerify } from "../../worker/judge.js";
import { Source, Unreachable } from "../../worker/source.js";
import type { FromChecker, ToChecker, Verdict, VerdictId } from "../messages.js";
import { electionView } from "./course.js";
import { Storage } from "./kept.js";
import { damaged, look } from "./look.js";
import { type Rules, receiptOf, sealedReceipt, viewOf } from "./receipts.js";

const MANIFEST_MAX = 1 << 20;
const tell = (message: FromChecker): void => postMessage(message);

let place: { source: Source; id: string } | undefined;

async function open(base: string, id: string): Promise<void> {
  place = { source: new Source(base), id };
  const kept = await Storage.open(id).then((storage) => storage.read()).catch(() => undefined);
  tell({ kind: "own", text: kept?.receipt });
}

function verdict(n: number, id: VerdictId, detail = "", rest: Partial<Verdict> = {}): void {
  tell({ kind: "verdict", n, id, election: undefined, receipt: undefined, dispute: undefined, detail, cancelled: false, ...rest });
}

async function check(n: number, text: string): Promise<void> {
  if (place === undefined) return;
  const { source, id } = place;
  let receipt: Receipt;
  try {
    receipt = await verifyReceipt(utf8(text), id);
  } catch (error) {
    if (!(error instanceof VerifierError)) throw error;
    const known: Readonly<Record<string, VerdictId>> = { "other-election": "otherElection", malformed: "noReceipt" };
    // Without Ed25519 this browser cannot tell a good signature from a wrong one.
    if (!(await canVerify())) return verdict(n, "undecided", "no Ed25519");
    return verdict(n, known[error.code] ?? "invalid", `${error.code}: ${error.message}`);
  }
  const rules: Rules = { manifest: receipt.manifest, text: (JSON.parse(text) as { manifest: string }).manifest, id };
  const shown = { election: electionView(rules), receipt: viewOf(receipt, text) };
  verdict(n, "unasked", "", shown);
  try {
    const now = receipt.seal?.finalHead === true ? undefined : await sealedReceipt(source, rules, receipt, text).catch(() => undefined);
    const best = now ?? text;
    const upgraded = now === undefined ? receipt : await verifyReceipt(utf8(best), id);
    const found = await look(source, rules, upgraded, best);
    verdict(n, found.id, found.detail, { ...shown, receipt: viewOf(upgraded, best), dispute: found.dispute, cancelled: found.cancelled });
    if (now !== undefined) await keep(id, text, best);
  } catch (error) {
    const wrong = damaged(error);
    if (wrong !== undefined) return verdict(n, "undecided", wrong, shown);
    if (!(error instanceof Unreachable)) throw error;
    verdict(n, "unreachable", error.message, shown);
  }
}

/** This device's own receipt is kept in its best form. */
async function keep(id: string, before: string, after: string): Promise<void> {
  await Storage.open(id).then((storage) => storage.upgrade(before, after)).catch(() => undefined);
}

async function find(n: number, index: string, entry64: string): Promise<void> {
  if (place === undefined) return;
  const { source, id } = place;
  try {
    const bytes = await source.need("manifest.json", MANIFEST_MAX);
    const manifest = await openManifest(bytes, id);
    const standard = entry64.replace(/-/g, "+").replace(/_/g, "/");
    const entry = fromBase64(standard.padEnd(Math.ceil(standard.length / 4) * 4, "="));
    const vote = parseEntry(entry, manifest);
    if (vote.type !== "vote" || !/^[0-9]{1,15}$/.test(index)) return verdict(n, "noReceipt");
    const rules = { manifest, text: fromUtf8(bytes), id };
    await check(n, await receiptOf(source, rules, await cellOf(vote.key, manifest), BigInt(index), entry));
  } catch (error) {
    if (error instanceof VerifierError) return verdict(n, "notThere", `${error.code}: ${error.message}`);
    if (!(error instanceof Unreachable)) throw error;
    verdict(n, "unreachable", error.message);
  }
}

addEventListener("message", ({ data }: MessageEvent<ToChecker>) => {
  if (data.kind === "open") void open(data.base, data.id);
  else if (data.kind === "check") void check(data.n, data.text);
  else void find(data.n, data.index, data.entry);
});
