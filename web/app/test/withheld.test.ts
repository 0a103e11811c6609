// What a server shows by leaving things out: a part of the results, no tiles, an older state. Nothing that it withholds may be called verified, and an honest operator is accused of nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { HEADS, type LogId, type Manifest, openManifest, verifySplitView } from "../../verifier/src/index.js";
import type { Memory, Snapshot } from "../src/messages.js";
import { badgeOf } from "../src/page/app.js";
import { recount } from "../src/worker/recount.js";
import { Session } from "../src/worker/session.js";
import { Source, Unreachable } from "../src/worker/source.js";
import { Ledger } from "../src/voting/worker/ledger.js";
import { Election, folder, tallyroot } from "./election.js";
import { Published, type Results, changed, moveVotes, parse, signAnew } from "./forge.js";

type Cache = "default" | "no-store" | "reload";
type Bytes = Uint8Array<ArrayBuffer>;
const bytes = (text: string | Buffer): Bytes => new Uint8Array(Buffer.from(text));

let election: Election;
let manifest: Manifest;
let honest: Buffer;

before(async () => {
  election = await Election.start(folder(), "--voters", "60", "--cells", "2", "--witnesses", "3");
  manifest = await openManifest(bytes(election.file("manifest.json")), election.id);
  honest = election.file("results.json");
});
after(() => election?.stop());

/** The election's server, but for what `answer` says: a file, null for none, `refused` for an error. */
class Server extends Source {
  answer: (path: string, cache: Cache) => Bytes | null | "refused" | undefined = () => undefined;
  hides: (path: string) => boolean = () => false;

  override async read(path: string, max: number, cache: Cache = "default"): Promise<Bytes | undefined> {
    const own = this.answer(path, cache);
    if (own === "refused") throw new Unreachable(`${path}: 503`);
    return own === null ? undefined : (own ?? super.read(path, max, cache));
  }

  override async exists(path: string): Promise<boolean> {
    return !this.hides(path) && super.exists(path);
  }
}

const server = (of = election): Server => new Server(`${of.url}${of.path}`);

/** A reader whose clock can be set forward. */
class Reader {
  private constructor(readonly session: Session, private readonly clock: { ahead: number }) {}

  static async visit(source: Source, memory: Memory | null = null, of = election): Promise<Reader> {
    const clock = { ahead: 0 };
    return new Reader(await Session.open(source, of.id, bytes(of.file("manifest.json")), memory, true, () => Date.now() + clock.ahead), clock);
  }

  async reads(results: string | Buffer): Promise<Snapshot> {
    await this.session.offer(bytes(results));
    return this.later(0);
  }

  /** So much later, having looked again. */
  async later(ms: number): Promise<Snapshot> {
    this.clock.ahead += ms;
    // Twice: what is read of the heads log is compared in the next round.
    for (let i = 0; i < 2; i++) await this.session.round();
    await this.session.readAnchors();
    return this.session.snapshot();
  }
}

const found = ({ findings }: Snapshot): string[] => findings.map(({ id }) => id);
const state = ({ checks }: Snapshot, id: string): string | undefined => checks.find((check) => check.id === id)?.state;
const note = ({ checks }: Snapshot, id: string): string | undefined => checks.find((check) => check.id === id)?.note;
const sizeOf = (memory: Memory, k: number): number => Number(memory.cells[k]?.split("\n")[1]);

const [MOMENT, MINUTES] = [40_000, 120_000];

test("an honest server is verified, and stays so while votes come in", async () => {
  const reader = await Reader.visit(server());
  assert.equal(badgeOf(await reader.reads(honest)), "verified");
  assert.equal(badgeOf(await reader.later(MINUTES)), "verified");
  await election.vote(0);
  await reader.session.offer(bytes(await newest(parse(honest).votes + 1)));
  // What has just come is compared in the next round: until then nothing falls back.
  assert.equal(badgeOf(reader.session.snapshot()), "verified");
  assert.equal(badgeOf(await reader.later(0)), "verified");
  honest = election.file("results.json");
});

async function newest(votes: number, of = election): Promise<Buffer> {
  for (;;) {
    const document = of.file("results.json");
    if (parse(document).votes >= votes) return document;
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The results of cell 0 alone, which need no key: its tally is what the sums are made of. */
function withoutCellOne(results: Results): void {
  const tally = Buffer.from(/extra (.*)\n/.exec(results.cells[0]?.proof ?? "")?.[1] ?? "", "base64");
  let at = 1 + 8 * 2;
  const next = (): number => Number(tally.readBigUInt64BE((at += 8) - 8));
  [results.votes, results.abstentions] = [next(), next()];
  for (const contest of results.contests) {
    contest.blanks = next();
    contest.counts = contest.counts.map(next);
  }
  results.cells[1] = { cell: 1, proof: null, size: 0 };
}

test("a cell that is left out of the results is missed", async () => {
  const reader = await Reader.visit(server());
  const part = await reader.reads(changed(honest, withoutCellOne));
  assert.deepEqual([found(part), badgeOf(part), state(part, "complete"), note(part, "complete")], [[], "partly", "waiting", "behind"]);
  assert.equal(part.stuckSince, undefined);
  const later = await reader.later(MINUTES);
  assert.deepEqual([found(later), badgeOf(later), state(later, "complete"), note(later, "complete")], [[], "partly", "unchecked", "behind"]);
  assert.notEqual(later.stuckSince, undefined);
  assert.equal(later.checks.find(({ id }) => id === "heads")?.values["cells"], 2);
});

/** Another history of cell 0, by its own key: longer than the true one, and no continuation of it. */
async function forkOfCellZero(more: number): Promise<{ results: string; log: Published }> {
  const cell: LogId = { kind: "cell", cell: 0 };
  const ledger = new Ledger(server(), manifest, cell);
  const tree = await ledger.newest() ?? assert.fail();
  const entries = await ledger.entries(tree, 0n, tree.size);
  const tally = entries.at(-1) ?? assert.fail();
  const vote = entries[2] ?? assert.fail();
  const log = new Published("cells/0", [entries[0] ?? assert.fail(), vote, ...entries.slice(2, -1), ...Array<Bytes>(more).fill(vote), tally], (size, root) => election.checkpoint("cells/0", size, root));
  const source = server();
  source.answer = (path) => { const file = log.file(path); return file && new Uint8Array(file); };
  const forged = new Ledger(source, manifest, cell);
  const size = await forged.newest() ?? assert.fail();
  const proof = await forged.proofOf(size.size - 1n, size);
  return { results: changed(honest, ({ cells }) => Object.assign(cells[0] ?? {}, { proof, size: Number(size.size) })), log };
}

const noTiles = (path: string): "refused" | undefined => (path.startsWith("cells/0/tile") ? "refused" : undefined);

test("a second history whose files are refused is not called verified for long, and what was remembered is kept until it can be compared", async () => {
  const source = server();
  const reader = await Reader.visit(source);
  assert.equal(badgeOf(await reader.reads(honest)), "verified");
  const before = reader.session.memory();
  const fork = await forkOfCellZero(7);
  source.answer = noTiles;
  await reader.reads(fork.results);
  const soon = await reader.later(MOMENT);
  assert.deepEqual([found(soon), badgeOf(soon), state(soon, "growth")], [[], "partly", "waiting"]);
  const later = await reader.later(MINUTES);
  assert.deepEqual([found(later), state(later, "growth")], [[], "unchecked"]);
  assert.equal(sizeOf(reader.session.memory(), 0), sizeOf(before, 0));

  // On the next visit too: what was never compared does not become what is remembered.
  const second = await Reader.visit(source, before);
  const shown = await second.reads(fork.results);
  assert.deepEqual([found(shown), badgeOf(shown), state(shown, "growth")], [[], "partly", "waiting"]);
  assert.equal(sizeOf(second.session.memory(), 0), sizeOf(before, 0));
  // Once it gives the files of its fork, it is caught, with the proof.
  source.answer = (path) => { const file = fork.log.file(path); return file && new Uint8Array(file); };
  const third = await Reader.visit(source, second.session.memory());
  const caught = await third.reads(fork.results);
  assert.ok(found(caught).includes("fork"), String(found(caught)));
  const evidence = caught.findings.find(({ id }) => id === "fork")?.evidence ?? assert.fail();
  assert.equal(Number((await verifySplitView(bytes(evidence), election.id)).older.size), sizeOf(before, 0));
  assert.equal(sizeOf(third.session.memory(), 0), sizeOf(before, 0));
});

test("two trees of one size are a contradiction, whatever else is withheld", async () => {
  const first = await Reader.visit(server());
  await first.reads(honest);
  await election.vote(1);
  const now = await newest(parse(honest).votes + 1);
  const which = parse(now).cells[0]?.size === parse(honest).cells[0]?.size ? 1 : 0;
  const source = server();
  source.answer = (path) => (path.startsWith(`cells/${which}/tile`) ? "refused" : undefined);
  const reader = await Reader.visit(source, first.session.memory());
  await reader.reads(now);
  await reader.reads(changed(now, (all) => { moveVotes(all, 1); signAnew(election, all); }));
  assert.deepEqual(found(reader.session.snapshot()), ["fork"]);
  honest = now;
});

test("a server that was set back to before the last visit is not believed in silence", async () => {
  const first = await Reader.visit(server());
  await first.reads(honest);
  const memory = first.session.memory();
  // A copy of the election as it was, in every file: smaller than what was seen.
  const older = changed(honest, withoutCellOne);
  const source = server();
  source.answer = (path) => (path.startsWith("cells/1/tile") || path.startsWith("heads/") ? "refused" : undefined);
  const reader = await Reader.visit(source, memory);
  await reader.reads(older);
  const later = await reader.later(MINUTES);
  assert.deepEqual([found(later), badgeOf(later)], [[], "partly"]);
  assert.deepEqual(reader.session.memory().cells, memory.cells);
});

test("what was kept of the heads log is compared until it could be", async () => {
  const first = await Reader.visit(server());
  await first.reads(honest);
  const { heads, ...rest } = first.session.memory();
  const size = Number(heads?.split("\n")[1]);
  // Another history was seen then, under the same key.
  const memory: Memory = { ...rest, heads: election.checkpoint("heads", size, Buffer.alloc(32, 7)) };
  while (Number(election.file("heads/checkpoint").toString().split("\n")[1]) <= size) await new Promise((done) => setTimeout(done, 20));
  const source = server();
  const reader = await Reader.visit(source, memory);
  let read = false;
  const tiles = source.tiles.bind(source);
  // Its entries are shown, and then nothing that the comparison needs.
  source.tiles = async (prefix, names, ...more) => {
    if (prefix === "heads" && read) throw new Unreachable("503");
    read ||= prefix === "heads";
    return tiles(prefix, names, ...more);
  };
  const held = await reader.reads(honest);
  assert.deepEqual([found(held), badgeOf(held), reader.session.memory().heads], [[], "partly", memory.heads]);
  source.tiles = tiles;
  const caught = await reader.later(0);
  assert.deepEqual(found(caught), ["fork"]);
  await verifySplitView(bytes(caught.findings[0]?.evidence ?? ""), election.id);
});

test("a record that stands still while votes are counted is not called verified", async () => {
  const source = server();
  const stopped = election.file("heads/checkpoint");
  source.answer = (path) => (path === "heads/checkpoint" ? bytes(stopped) : undefined);
  const reader = await Reader.visit(source);
  assert.equal(badgeOf(await reader.reads(honest)), "verified");
  // The counts' own times go on: a head that is made every second does not come for minutes.
  const cells = Reflect.get(reader.session, "cells") as { tally: { time: number } }[];
  for (const cell of cells) cell.tally = { ...cell.tally, time: cell.tally.time + 600_000 };
  assert.equal(state(reader.session.snapshot(), "heads"), "verified");
  assert.equal(state(await reader.later(MINUTES), "heads"), "unchecked");
});

test("a bundle that was damaged on its way costs another look, and accuses nobody", async () => {
  const size = parse(honest).cells[0]?.size ?? 0;
  const note = /\n\n([^]*)$/.exec(parse(honest).cells[0]?.proof ?? "")?.[1] ?? "";
  const request = { kind: "recount", base: "", id: election.id, cells: [{ size, note }], maxBytes: 600_000, maxVotes: 1_000 } as const;
  const damaged: Readonly<Record<string, (file: Buffer) => Buffer>> = {
    "cut off": (file) => file.subarray(0, file.length - 3),
    // The tally that ends a batch is taken for a vote: the piece would end elsewhere.
    "an entry's type": (file) => { const copy = Buffer.from(file); copy[2 + copy.readUInt16BE(0) + 2] = 3; return copy; },
  };
  for (const [what, damage] of Object.entries(damaged)) {
    const source = server();
    source.answer = (path, cache) => (path.startsWith("cells/0/tile/entries/") && cache !== "reload" ? bytes(damage(election.file(path))) : undefined);
    assert.equal((await recount(source, manifest, request)).kind, "recounted", what);
  }
  const small = await recount(server(), manifest, { ...request, maxBytes: 100 });
  assert.deepEqual(small, { kind: "not-recounted", why: "long" });
});

test("what may be read is bounded by the election's size", async () => {
  const { session } = await Reader.visit(server());
  assert.ok(session.resultsMax > 4 * honest.length && session.resultsMax < 1 << 20, String(session.resultsMax));
});

test("who cancels honestly is not accused", async () => {
  const other = await Election.start(folder(), "--voters", "30", "--cells", "2");
  try {
    const reader = await Reader.visit(server(other), null, other);
    await reader.session.offer(bytes(other.file("results.json")));
    const cancelling = tallyroot("election", "cancel", "--election", other.id, "--key", join(other.data, "authority/main.key"), other.url);
    let [last, final] = ["", false];
    while (!final) {
      const now = other.file("results.json");
      if (now.toString() !== last) {
        last = now.toString();
        await reader.reads(now);
      }
      await reader.session.round();
      final = reader.session.snapshot().head?.final === true && parse(now).cells.every(({ size }, k) => size === Number(sizesNamed(reader.session)[k]));
    }
    await cancelling;
    const end = await reader.reads(other.file("results.json"));
    assert.deepEqual([found(end), end.results?.status, state(end, "outcome")], [[], "cancelled", "verified"]);
    // But what was cancelled does not become a result, and a result that stands beside the notice is none.
    const asFinal = changed(other.file("results.json"), makeFinal);
    assert.deepEqual(found(await reader.reads(asFinal)), ["final-changed"]);
    const fresh = await Reader.visit(server(other), null, other);
    assert.ok(found(await fresh.reads(asFinal)).includes("contradiction"));
  } finally {
    other.stop();
  }
});

const sizesNamed = (session: Session): readonly bigint[] => (Reflect.get(session, "heads") as { head?: { logs: { size: bigint }[] } }).head?.logs.map(({ size }) => size) ?? [];

/** Says of results that they are final, with an outcome that follows from the first counts: enough where the form is judged before the rounds are. */
function makeFinal(results: Results): void {
  results.status = "final";
  results.contests.forEach((contest, c) => {
    const most = Math.max(...contest.counts);
    Object.assign(contest, { tie_broken: contest.counts.filter((count) => count === most).length > 1, winner: contest.counts.indexOf(most), rounds: c === 0 ? [{ counts: contest.counts, eliminated: null, exhausted: 0, tie_broken: false }] : null });
  });
}

test("behind a switch, the key that was retired is refused and the other one taken, however late the notice is read", async () => {
  const signed = join(folder(), "notice.json");
  await tallyroot("election", "switch", "--election", election.id, "--key", join(election.data, "authority/main.key"), "--cell", "0", "--offline", signed, election.url);
  const notice = Buffer.from((JSON.parse(readFileSync(signed, "utf8")) as { notice: string }).notice, "base64");
  const ledger = new Ledger(server(), manifest, HEADS);
  const tree = await ledger.newest() ?? assert.fail();
  const heads = await ledger.entries(tree, 0n, tree.size);
  const log = new Published("heads", [...heads, notice, heads.at(-1) ?? assert.fail()], (size, root) => election.checkpoint("heads", size, root));
  const fork = await forkOfCellZero(3);
  for (const key of ["main", "spare"] as const) {
    const source = server();
    source.answer = (path) => { const file = log.file(path); return file ? new Uint8Array(file) : noTiles(path); };
    const reader = await Reader.visit(source);
    await reader.session.offer(bytes(changed(Buffer.from(fork.results), (all) => signAnew(election, all, key))));
    assert.equal(state(reader.session.snapshot(), "signatures"), key === "main" ? "verified" : "unchecked");
    // The anchors hold what the true log went on with.
    await reader.session.round();
    const read = reader.session.snapshot();
    assert.deepEqual([found(read), state(read, "signatures")], [key === "main" ? ["signature"] : [], "verified"]);
  }
});

test("two heads that name two trees of one size contradict each other", async () => {
  const ledger = new Ledger(server(), manifest, HEADS);
  const tree = await ledger.newest() ?? assert.fail();
  const heads = await ledger.entries(tree, 0n, tree.size);
  const other = new Uint8Array(heads.at(-1) ?? assert.fail());
  const end = other.length - 1;
  other[end] = (other[end] ?? 0) ^ 1;
  const log = new Published("heads", [...heads, other], (size, root) => election.checkpoint("heads", size, root));
  const source = server();
  source.answer = (path) => { const file = log.file(path); return file && new Uint8Array(file); };
  assert.deepEqual(found(await (await Reader.visit(source)).reads(honest)), ["heads-differ"]);
});

test("after the end: results from before it, and anchors that do not reach it, are not called verified", async () => {
  await election.close();
  let final: Buffer;
  do {
    await new Promise((done) => setTimeout(done, 50));
    final = election.file("results.json");
  } while (parse(final).status !== "final");
  const source = server();
  const reader = await Reader.visit(source);
  const open = await reader.reads(changed(honest, withoutCellOne));
  assert.deepEqual([open.head?.final, found(open), badgeOf(open), state(open, "complete"), note(open, "complete")], [true, [], "partly", "waiting", "ended"]);
  const later = await reader.later(MINUTES);
  assert.deepEqual([state(later, "complete"), later.stuckSince !== undefined], ["unchecked", true]);

  const short = await Reader.visit(source);
  source.hides = (path) => !/anchors\/[^/]*\/0$/.test(path);
  const hidden = await short.reads(final);
  assert.deepEqual([state(hidden, "complete"), state(hidden, "anchors"), note(hidden, "anchors"), short.session.awaitsAnchors], ["verified", "waiting", "short", true]);
  assert.equal(state(await short.later(MINUTES), "anchors"), "unchecked");
  source.hides = () => false;
  const whole = await short.later(0);
  assert.deepEqual([state(whole, "anchors"), state(whole, "witnesses"), short.session.awaitsAnchors, found(whole)], ["verified", "verified", false, []]);

  // Cosignatures of the end are not shown.
  const unwitnessed = server();
  unwitnessed.answer = (path) => (path.startsWith("heads/cosigned/") && Number(path.split("/").at(-1)) === whole.head?.size ? null : undefined);
  const alone = await (await Reader.visit(unwitnessed)).reads(final);
  assert.notEqual(state(alone, "witnesses"), "verified");
});

test("a cosigned checkpoint of another history is kept as evidence", async () => {
  const source = server();
  const at = Number(election.file("heads/checkpoint").toString().split("\n")[1]);
  // The witnesses' lines need not be there for it to contradict.
  source.answer = (path) => (path === `heads/cosigned/${at}` ? bytes(election.checkpoint("heads", at, Buffer.alloc(32, 9))) : undefined);
  const caught = await (await Reader.visit(source)).reads(election.file("results.json"));
  assert.deepEqual(found(caught), ["fork"]);
  await verifySplitView(bytes(caught.findings[0]?.evidence ?? ""), election.id);
});
