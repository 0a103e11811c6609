import { type Findings, type ReadLog, type Tree, codeOf, decode } from "./audit-log.js";
import { equal } from "./bytes.js";
import { type CosignedCheckpoint, openCosigned } from "./checkpoint.js";
import { type Head, type Notice, verifyNotice } from "./entry.js";
import { fail } from "./error.js";
import { HeadsLog } from "./heads-log.js";
import { HEADS, keysOf, originOf, prefixOf, sameLog } from "./logs.js";
import type { Manifest } from "./manifest.js";
import type { Status } from "./results.js";

/** What the heads log says, for whoever judges the other files. */
export interface HeadsAudit {
  readonly status: Status;
  /** Whether it ends in a final head. */
  readonly ended: boolean;
  readonly lastHead: Head | undefined;
  /** Above which size each log's spare signs. */
  readonly switches: Map<string, bigint>;
  /** The sizes of each log whose checkpoints must be there. */
  readonly named: Map<string, Set<bigint>>;
}

interface PlacedNotice { readonly notice: Notice; readonly index: bigint }
interface PlacedHead { readonly head: Head; readonly index: bigint }

const FIVE_MINUTES = 300_000n;

/** Judges heads and notices against the logs that they speak of. */
export async function judgeHeads(manifest: Manifest, logs: readonly ReadLog[], own: ReadLog, tree: Tree, findings: Findings): Promise<HeadsAudit> {
  const end = Number(own.reach);
  const heads: PlacedHead[] = [];
  const published: PlacedNotice[] = [];
  for (const [i, bytes] of own.entries.slice(0, end).entries()) {
    const entry = decode(bytes, manifest);
    if (entry?.type === "head" || entry?.type === "final-head") heads.push({ head: entry, index: BigInt(i) });
    if (entry?.type === "notice") published.push({ notice: entry, index: BigInt(i) });
  }
  const { notices, switches } = await judgeNotices(manifest, logs, published, findings);
  const named = new Map([...logs, own].map((log) => [prefixOf(log.id), new Set<bigint>()]));
  for (const [place, { head }] of heads.entries()) judgeHead(manifest, logs, head, `heads, head ${place}`, named, findings);
  const last = heads.at(-1)?.head;
  judgeTotals(manifest, logs, last, true, "heads, the last head", findings);
  if (own.grammar instanceof HeadsLog) for (const { code, index, log } of own.grammar.remarks) findings.add(codeOf(code, HEADS, undefined), `heads, entry ${index}`, prefixOf(log));

  const cosigned = await readCosigned(manifest, tree, findings);
  const ended = last?.type === "final-head";
  if (ended && manifest.witnesses.quorum > 0 && quorumTime(manifest, cosigned.get(BigInt(end))) === undefined) findings.add("quorum", `heads/cosigned/${end}`, "no quorum");
  judgeTimes(manifest, logs, heads, notices, cosigned, findings);
  const cancelled = notices.some(({ notice }) => notice.body.kind === "cancel");
  return { status: cancelled ? "cancelled" : ended ? "final" : "open", ended, lastHead: last, switches, named };
}

/** Checks the notices' signatures and switches. A notice that the authority did not sign has no effect. */
async function judgeNotices(manifest: Manifest, logs: readonly ReadLog[], notices: readonly PlacedNotice[], findings: Findings): Promise<{ notices: PlacedNotice[]; switches: Map<string, bigint> }> {
  const signed: PlacedNotice[] = [];
  const switches = new Map<string, bigint>();
  for (const { notice, index } of notices) {
    const { body } = notice;
    if (!(await verifyNotice(notice, manifest))) {
      findings.add("notice-signature", `heads, entry ${index}`, "not signed by the authority");
      continue;
    }
    signed.push({ notice, index });
    if (body.kind !== "switch") continue;
    if (!switches.has(prefixOf(body.log))) switches.set(prefixOf(body.log), body.size);
    const log = logs.find(({ id }) => sameLog(id, body.log));
    const root = log?.ends.get(body.size);
    if (log !== undefined && (root === undefined || !equal(root, body.root))) findings.add("notice-invalid", `heads, entry ${index}`, "a switch at no batch end");
  }
  return { notices: signed, switches };
}

function judgeHead(manifest: Manifest, logs: readonly ReadLog[], head: Head, place: string, named: Map<string, Set<bigint>>, findings: Findings): void {
  logs.forEach((log, i) => {
    const said = head.logs[i];
    // A log that has published nothing is listed as stale, with its genesis, and needs no file.
    if (said === undefined || (said.state === "stale" && said.size === 1n && log.entries.length === 0)) return;
    named.get(prefixOf(log.id))?.add(said.size);
    const root = log.ends.get(said.size);
    // What lies beyond all batches is told by the newest checkpoint, which is smaller.
    if (root === undefined && said.size <= BigInt(log.entries.length)) findings.add("head-size", place, `no batch of ${prefixOf(log.id)} ends at ${said.size}`);
    if (root === undefined) return;
    if (!equal(root, said.root)) findings.add("head-root", place, `another root than ${prefixOf(log.id)} has`);
    const closed = decode(log.entries[Number(said.size) - 1] ?? new Uint8Array(0), manifest)?.type === "close";
    if (said.state !== "stale" && closed !== (said.state === "closed")) findings.add("log-not-closed", place, prefixOf(log.id));
  });
  judgeTotals(manifest, logs, head, false, place, findings);
}

/** How many votes or issuances a log has below a size. */
function countOf(log: ReadLog, size: bigint): number {
  return log.counts[Math.min(Number(size), log.entries.length)] ?? 0;
}

/** Votes <= issued by each registrar <= the roll. `all`: against everything that was issued, whatever heads call stale. */
function judgeTotals(manifest: Manifest, logs: readonly ReadLog[], head: Head | undefined, all: boolean, place: string, findings: Findings): void {
  if (logs.some(({ broken }) => broken)) return;
  if (!all && logs.some(({ id }, i) => id.kind === "issuance" && head?.logs[i]?.state === "stale")) return;
  const total = (type: "vote" | "issuance", registrar?: number): number =>
    logs.reduce((sum, log, i) => {
      const ours = registrar === undefined ? log.id.kind === "cell" : log.id.kind === "issuance" && log.id.registrar === registrar;
      const size = all && type === "issuance" ? BigInt(log.entries.length) : (head?.logs[i]?.size ?? 0n);
      return ours ? sum + countOf(log, size) : sum;
    }, 0);
  const votes = total("vote");
  for (const r of manifest.registrars.keys()) {
    const issued = total("issuance", r);
    if (votes > issued) findings.add("votes-exceed-issued", place, `${votes} votes, ${issued} credentials by registrar ${r}`);
    if (issued > manifest.roll.size) findings.add("issued-exceeds-roll", place, `${issued} credentials by registrar ${r}`);
  }
}

type Cosigned = ReadonlyMap<bigint, CosignedCheckpoint>;

async function readCosigned(manifest: Manifest, tree: Tree, findings: Findings): Promise<Cosigned> {
  const out = new Map<bigint, CosignedCheckpoint>();
  for (const [path, bytes] of tree) {
    const size = /^heads\/cosigned\/([0-9]+)$/.exec(path)?.[1];
    if (size === undefined) continue;
    const read = await findings.check("cosignature-wrong", path, async () => {
      const plain = tree.get(`heads/checkpoints/${size}`);
      if (plain === undefined || !equal(bytes.subarray(0, plain.length), plain)) fail("cosigned", "does not begin with the checkpoint of its size");
      const opened = await openCosigned(bytes, originOf(manifest, HEADS), keysOf(manifest, HEADS), manifest.witnesses.keys);
      return opened.cosignatures.length > 0 ? opened : fail("cosigned", "no cosignature");
    });
    if (read !== undefined) out.set(read.size, read);
  }
  return out;
}

/** The time in ms by which a cosigned checkpoint had its quorum. */
function quorumTime(manifest: Manifest, cosigned: CosignedCheckpoint | undefined): bigint | undefined {
  const { quorum } = manifest.witnesses;
  const times = (cosigned?.cosignatures ?? []).map(({ time }) => time).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const time = quorum > 0 ? times[quorum - 1] : undefined;
  return time === undefined ? undefined : time * 1000n;
}

function judgeTimes(manifest: Manifest, logs: readonly ReadLog[], heads: readonly PlacedHead[], notices: readonly PlacedNotice[], cosigned: Cosigned, findings: Findings): void {
  const seen = (index: bigint): bigint | undefined =>
    [...cosigned].flatMap(([size, checkpoint]) => (size > index ? (quorumTime(manifest, checkpoint) ?? []) : [])).reduce<bigint | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
  for (const { head, index } of heads) {
    const by = seen(index);
    if (by !== undefined && head.time > by + FIVE_MINUTES) findings.add("clock", `heads, entry ${index}`, "a time after a quorum had seen it");
  }
  const extended = notices.flatMap(({ notice: { body } }) => (body.kind === "extend" ? [body.closing] : []));
  const closing = [BigInt(manifest.times.closing), ...extended].reduce((a, b) => (a > b ? a : b));
  const grace = BigInt(manifest.times.grace);
  const last = heads.at(-1);
  logs.forEach((log, i) => {
    if (log.id.kind !== "cell" || last === undefined) return;
    const freeze = notices.find(({ notice: { body } }) => body.kind === "freeze" && sameLog(body.log, log.id));
    const frozen = freeze && heads.find(({ index }) => index > freeze.index)?.head.time;
    const limit = (frozen !== undefined && frozen < closing ? frozen : closing) + grace;
    const behind = heads.findIndex(({ head, index }) => head.time > limit || (seen(index) ?? 0n) > limit + FIVE_MINUTES);
    const inTime = heads[(behind < 0 ? heads.length : behind) - 1]?.head.logs[i]?.size ?? 1n;
    const before = [...heads].reverse().find(({ head }) => head.time < BigInt(manifest.times.opening))?.head.logs[i]?.size ?? 1n;
    const votes = (size: bigint): number => countOf(log, size);
    if (votes(last.head.logs[i]?.size ?? 1n) > votes(inTime)) findings.add("late", prefixOf(log.id), "votes that no head showed in time");
    if (votes(before) > 0) findings.add("early", prefixOf(log.id), "votes that a head showed before opening");
  });
}
