import { type Choices } from "./ballot.js";
import { equal, fromUtf8, toBase64, toHex } from "./bytes.js";
import { type Finding, Findings, type ReadLog, type Tree, decode, isAbove, isOwnFile, judgeFiles, readLog } from "./audit-log.js";
import { type HeadsAudit, judgeHeads } from "./audit-heads.js";
import { fail } from "./error.js";
import { parseAnchor } from "./files.js";
import { HEADS, headLogs, prefixOf } from "./logs.js";
import { type Manifest, parseManifest } from "./manifest.js";
import { inclusionProof } from "./merkle.js";
import { type CellSums, type Status, makeResults, parseResults } from "./results.js";
import { sha256 } from "./sha256.js";
import { Recount } from "./sums.js";

/** What an audit found. */
export interface Audit { readonly state: Status | undefined; readonly findings: readonly Finding[] }

/**
 * Audits a published tree that is held in memory: every rule of sections 2 to 15, with the codes of section 16 and without its bounds of votes.
 * For small elections and for tests; whoever audits millions of votes takes a verifier that streams.
 */
export async function audit(tree: Tree, election: string): Promise<Audit> {
  const findings = new Findings();
  const bytes = tree.get("manifest.json") ?? fail("source", "no manifest.json");
  if (toHex(await sha256(bytes)) !== election) {
    findings.add("manifest-mismatch", "manifest.json", "of another election, or changed");
    return { state: undefined, findings: findings.list };
  }
  const manifest = await findings.check("manifest-invalid", "manifest.json", () => parseManifest(bytes));
  if (manifest === undefined) return { state: undefined, findings: findings.list };
  const ids = [...headLogs(manifest), HEADS];
  const prefixes = ids.map(prefixOf);
  for (const path of tree.keys()) if (!isOwnFile(manifest, prefixes, path)) findings.add("foreign-file", path, "nothing that the election publishes");

  const read: ReadLog[] = [];
  for (const id of ids) read.push(await readLog(manifest, id, tree, findings));
  const logs = read.slice(0, -1);
  const heads = read.at(-1) ?? fail("source", "no heads log");
  const judged = await judgeHeads(manifest, logs, heads, tree, findings);
  await judgeAnchors(manifest, heads, tree, judged, findings);
  await judgeResults(manifest, logs, tree, judged, findings);
  for (const log of read) {
    await judgeFiles(manifest, log, tree, judged.switches, judged.named.get(prefixOf(log.id)) ?? new Set(), findings);
  }
  return { state: judged.status, findings: findings.list };
}

async function judgeAnchors(manifest: Manifest, heads: ReadLog, tree: Tree, judged: HeadsAudit, findings: Findings): Promise<void> {
  for (const name of manifest.anchors) {
    let reach = 0n;
    let sound = true;
    let number = 0n;
    for (; sound && tree.has(`anchors/${name}/${number}`); number++) {
      const place = `anchors/${name}/${number}`;
      const anchor = await findings.check("anchor-malformed", place, () => parseAnchor(tree.get(place) ?? new Uint8Array(0), manifest));
      sound = false;
      if (anchor === undefined) break;
      if (anchor.number !== number) findings.add("anchor-malformed", place, "of another number");
      else if (anchor.oldSize !== reach) findings.add("anchor-conflict", place, "does not continue the object before");
      else if (!heads.broken && anchor.newSize > BigInt(heads.entries.length)) findings.add("checkpoint-rollback", place, "holds more than the heads log");
      else {
        const note = tree.get(`heads/checkpoints/${anchor.newSize}`);
        const own = heads.entries.slice(Number(reach), Number(anchor.newSize));
        const same = own.length === anchor.entries.length && own.every((entry, i) => equal(entry, anchor.entries[i] ?? new Uint8Array(0)));
        sound = same && note !== undefined && equal(note, anchor.note);
        if (!sound) findings.add("anchor-conflict", place, "other entries, or another note, than the heads log");
      }
      reach = anchor.newSize;
      judged.named.get("heads")?.add(reach);
    }
    const broken = findings.list.some(({ place }) => place.startsWith(`anchors/${name}/`));
    const behind = [...tree.keys()].filter((path) => path.startsWith(`anchors/${name}/`) && isAbove(path.slice(`anchors/${name}/`.length), number));
    if (!broken) for (const path of behind) findings.add("foreign-file", path, `continues nothing: object ${number} is not there`);
    if (judged.ended && !broken && reach < BigInt(heads.entries.length)) {
      findings.add("anchor-not-final", `anchors/${name}`, "the final head is not covered");
    }
  }
}

async function judgeResults(manifest: Manifest, logs: readonly ReadLog[], tree: Tree, judged: HeadsAudit, findings: Findings): Promise<void> {
  const place = "results.json";
  const bytes = tree.get(place);
  if (bytes === undefined) return findings.add("missing-file", place, "not there");
  await findings.check("results-wrong", place, async () => {
    const results = parseResults(bytes, manifest);
    if (judged.status === "final" && results.status === "open") findings.add("results-not-final", place, "open behind a final head");
    else if (results.status !== judged.status) fail("results", `says ${results.status}`);
    const cells: CellSums[] = [];
    const ballots: Choices[] = [];
    for (const [k, log] of logs.slice(0, manifest.cells.length).entries()) {
      const size = results.cells[k]?.size ?? 0;
      if (judged.ended && results.status !== "open" && BigInt(size) !== judged.lastHead?.logs[k]?.size) fail("results", "not the final head's sizes");
      cells.push(await cellSums(manifest, log, size, judged.ended, tree, ballots));
      if (log.reach > 0n && size > 0) judged.named.get(prefixOf(log.id))?.add(BigInt(size));
    }
    if (makeResults(manifest, results.status, cells, ballots) !== fromUtf8(bytes)) fail("results", "not what the votes make");
  });
}

/** What a cell gives to the results at some size; its ballots are put to the others. */
async function cellSums(manifest: Manifest, log: ReadLog, size: number, ended: boolean, tree: Tree, ballots: Choices[]): Promise<CellSums> {
  if (log.reach === 0n) {
    // The final head lists a log that never published with its genesis.
    if (size > (ended ? 1 : 0)) fail("results", "a size of a cell that has published nothing");
    return { size, proof: undefined, sums: undefined };
  }
  if (size !== 0 && (!log.ends.has(BigInt(size)) || BigInt(size) > log.reach)) fail("results", "a size at which no batch ends");
  const recount = new Recount(manifest);
  let newest: number | undefined;
  for (const [index, bytes] of log.entries.slice(0, size).entries()) {
    const entry = decode(bytes, manifest);
    if (entry?.type === "tally") newest = index;
    if (entry?.type !== "vote") continue;
    recount.add(entry.choices);
    ballots.push(entry.choices);
  }
  return { size, proof: newest === undefined ? undefined : await proofText(log, newest, size, tree), sums: recount.sums() };
}

/** The `.tlog-proof` of an entry under the checkpoint of some size. */
async function proofText(log: ReadLog, index: number, size: number, tree: Tree): Promise<string> {
  const note = tree.get(`${prefixOf(log.id)}/checkpoints/${size}`) ?? fail("results", "the checkpoint of its size is not there");
  const hashes = await inclusionProof(index, log.leaves.slice(0, size));
  const lines = hashes.map((hash) => `${toBase64(hash)}\n`).join("");
  return `c2sp.org/tlog-proof@v1\nextra ${toBase64(log.entries[index] ?? new Uint8Array(0))}\nindex ${index}\n${lines}\n${fromUtf8(note)}`;
}
