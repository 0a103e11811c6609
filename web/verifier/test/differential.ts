/**
 * This verifier against the one in Python (specs/reference), on inputs that nobody wrote: those of the vectors, changed at random, and published trees.
 * Both must accept the same bytes, and read the same in them; of a tree, both must find something or nothing, and tell the same state.
 *
 *     npm run differential          2,600 inputs and 400 trees of seed 1; SEED, INPUTS and TREES name others, PYTHON the interpreter
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { audit } from "../src/audit.js";
import { parseBallot } from "../src/ballot.js";
import { type Bytes, fromHex, fromUtf8, toHex, utf8 } from "../src/bytes.js";
import { CellLog } from "../src/cell-log.js";
import { openCheckpoint, openCosigned } from "../src/checkpoint.js";
import { verifyEd25519 } from "../src/ed25519.js";
import { parseEntry, verifyNotice, voteFault } from "../src/entry.js";
import { VerifierError, fail } from "../src/error.js";
import { verifyDispute, verifySplitView } from "../src/evidence.js";
import { parseAnchor, parseBatch } from "../src/files.js";
import { HeadsLog } from "../src/heads-log.js";
import { IssuanceLog } from "../src/issuance-log.js";
import { parseCanonical } from "../src/json.js";
import { decodeLabel } from "../src/labels.js";
import { HEADS, headLogs, prefixOf } from "../src/logs.js";
import { type Manifest, parseManifest } from "../src/manifest.js";
import { verifyConsistency, verifyInclusion } from "../src/merkle.js";
import { parseNote, parseVerifierKey, verifyLine } from "../src/note.js";
import { parseTlogProof, verifyTlogProof } from "../src/proof.js";
import { verifyReceipt } from "../src/receipt.js";
import { parseResults } from "../src/results.js";
import { parseRsaKey, verifyRsa } from "../src/rsa.js";
import { parseBundle, parseTilePath } from "../src/tiles.js";
import { base } from "./base.js";
import { Random, documented, exchanged, rebatched, replanted, stretched } from "./mutate.js";
import { trees } from "./trees.js";
import { specs, vectors } from "./vectors.js";

/** A case as it is sent: every input that may be changed is in hexadecimal. */
type Case = Record<string, unknown>;

const text = (c: Case, field: string): string => (typeof c[field] === "string" ? c[field] : fail("case", field));
const bytes = (c: Case, field: string): Bytes => fromHex(text(c, field));
const list = (c: Case, field: string): string[] => c[field] as string[];
const keyPair = (c: Case) => ({ main: fromHex(list(c, "keys")[0] ?? ""), spare: fromHex(list(c, "keys")[1] ?? "") });

async function accepts(action: () => unknown): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (error instanceof VerifierError) return false;
    throw error;
  }
}

/** What is read in a case's input: as the program in Python says it. */
type Read = (c: Case, manifest: Manifest) => unknown;

/** File, list of cases, kind of case if there are several, what is changed, and what is read. */
const INPUTS: readonly (readonly [string, string, string | undefined, readonly string[], Read])[] = [
  ["canonical_json", "cases", undefined, ["bytes"], (c) => accepts(() => parseCanonical(bytes(c, "bytes")))],
  ["labels", "cases", undefined, ["bytes"], (c) => accepts(() => decodeLabel(bytes(c, "bytes")))],
  ["ed25519", "cases", undefined, ["public_key", "message", "signature"], async (c) => (await verifyEd25519(bytes(c, "public_key"), bytes(c, "message"), bytes(c, "signature"))) || null],
  ["rsa", "keys", undefined, ["spki"], (c) => parseRsaKey(bytes(c, "spki")).length],
  ["rsa", "signatures", undefined, ["spki", "message", "signature"], (c) => verifyRsa(parseRsaKey(bytes(c, "spki")), bytes(c, "message"), bytes(c, "signature"))],
  ["manifest", "cases", undefined, ["manifest"], async (c) => toHex((await parseManifest(bytes(c, "manifest"))).election)],
  ["ballot", "cases", undefined, ["ballot"], (c, m) => parseBallot(bytes(c, "ballot"), m.contests)],
  ["entry", "cases", undefined, ["entry"], readEntry],
  ["grammar", "cases", undefined, ["batches"], readGrammar],
  ["batch", "cases", undefined, ["batch"], (c, m) => {
    const { log, number, oldSize, newSize, entries } = parseBatch(bytes(c, "batch"), m);
    return [prefixOf(log), number, oldSize, newSize, entries.length];
  }],
  ["anchor", "cases", undefined, ["anchor"], (c, m) => {
    const { number, oldSize, newSize, entries, note } = parseAnchor(bytes(c, "anchor"), m);
    return [number, oldSize, newSize, entries.length, note.length];
  }],
  ["results", "cases", undefined, ["results"], (c, m) => {
    const { status, cells } = parseResults(bytes(c, "results"), m);
    return [status, cells.map(({ size }) => size)];
  }],
  ["receipt", "cases", undefined, ["receipt"], async (c) => {
    const { cell, index, checkpoint, seal } = await verifyReceipt(bytes(c, "receipt"), text(c, "election"));
    return [cell, index, checkpoint.size, seal ? [seal.head, seal.heads.size, seal.time, seal.finalHead, seal.witnesses.map(({ name, time }) => [name, time])] : null];
  }],
  ["evidence", "cases", "split-view", ["evidence"], async (c) => {
    const { log, older, newer } = await verifySplitView(bytes(c, "evidence"), text(c, "election"));
    return [prefixOf(log), String(older.size), String(newer.size)];
  }],
  ["evidence", "cases", "dispute", ["evidence"], async (c) => {
    const { ruling, rolledBack } = await verifyDispute(bytes(c, "evidence"), text(c, "election"));
    return [ruling, rolledBack];
  }],
  ["merkle", "cases", "inclusion", ["leaf", "root", "index", "size", "proof"], (c) =>
    accepts(() => verifyInclusion(bytes(c, "leaf"), BigInt(text(c, "index")), { size: BigInt(text(c, "size")), root: bytes(c, "root") }, list(c, "proof").map((hash) => fromHex(hash))))],
  ["merkle", "cases", "consistency", ["old_size", "old_root", "new_size", "new_root", "proof"], (c) =>
    accepts(() => verifyConsistency({ size: BigInt(text(c, "old_size")), root: bytes(c, "old_root") }, { size: BigInt(text(c, "new_size")), root: bytes(c, "new_root") },
      list(c, "proof").map((hash) => fromHex(hash))))],
  ["note", "cases", "note", ["input"], (c) => {
    const note = parseNote(bytes(c, "input"));
    return [note.text, note.signatures.map(({ name, signature }) => [name, toHex(signature)])];
  }],
  ["note", "cases", "vkey", ["input"], async (c) => {
    const { name, type, publicKey } = await parseVerifierKey(fromUtf8(bytes(c, "input")));
    return [name, type, toHex(publicKey)];
  }],
  ["note", "cases", "signed", ["input"], async (c) => {
    const note = parseNote(bytes(c, "input"));
    const key = await parseVerifierKey(text(c, "vkey"));
    return (await Promise.all(note.signatures.map((line) => verifyLine(note.text, line, key)))).includes(true);
  }],
  ["checkpoint", "cases", "checkpoint", ["input"], async (c) => {
    const { size, root, key } = await openCheckpoint(bytes(c, "input"), text(c, "origin"), keyPair(c));
    return [String(size), toHex(root), key === "main" ? 0 : 1];
  }],
  ["checkpoint", "cases", "cosigned", ["input"], async (c) => {
    const named = await Promise.all(list(c, "witnesses").map(parseVerifierKey));
    const { size, root, key, cosignatures } = await openCosigned(bytes(c, "input"), text(c, "origin"), keyPair(c), named);
    return [String(size), toHex(root), key === "main" ? 0 : 1, cosignatures.map(({ witness, time }) => [witness, String(time)])];
  }],
  ["tlog_proof", "cases", "form", ["input"], (c) => {
    const { extra, index, hashes, checkpoint } = parseTlogProof(bytes(c, "input"));
    return [extra === undefined ? null : toHex(extra), String(index), hashes.length, toHex(checkpoint)];
  }],
  ["tlog_proof", "cases", "proof", ["input"], (c) => {
    const proof = parseTlogProof(bytes(c, "input"));
    return accepts(() => verifyTlogProof(proof, bytes(c, "leaf"), text(c, "origin"), keyPair(c)));
  }],
  ["tiles", "cases", "path", ["path"], (c) => {
    const { level, index, width } = parseTilePath(fromUtf8(bytes(c, "path")));
    return [String(level), String(index), width];
  }],
  ["tiles", "cases", "bundle", ["bytes"], (c) => parseBundle(bytes(c, "bytes"), Number(c["width"])).map(toHex)],
];

/** A head's remarks come in no order that means anything. */
const byText = (a: unknown, b: unknown): number => (told(a) < told(b) ? -1 : 1);

async function readEntry(c: Case, m: Manifest): Promise<unknown> {
  const entry = parseEntry(bytes(c, "entry"), m);
  const verifies = entry.type === "notice" ? await verifyNotice(entry, m) : entry.type === "vote" ? (await voteFault(entry, m)) === undefined : null;
  return [entry.type.replace("-", " "), verifies];
}

async function readGrammar(c: Case, m: Manifest): Promise<unknown> {
  const id = [...headLogs(m), HEADS].find((each) => prefixOf(each) === text(c, "log")) ?? fail("case", "log");
  const log = id.kind === "cell" ? new CellLog(m, id.cell) : id.kind === "issuance" ? new IssuanceLog(m, id.registrar, id.shard) : await HeadsLog.of(m);
  for (const batch of c["batches"] as string[][]) {
    const entries = batch.map((entry) => fromHex(entry));
    await log.batch(entries);
    for (const each of entries) {
      const entry = parseEntry(each, m);
      // The signatures of notices are a rule of the heads log.
      if (entry.type === "notice" && !(await verifyNotice(entry, m))) fail("notice-signature", "not signed");
    }
  }
  return log instanceof HeadsLog ? log.remarks.map(({ index, code }) => [index, code]).sort(byText) : [];
}

const TEXTS = ["manifest", "results", "receipt", "input", "path", "evidence"];

/** The cases of a kind, with what is changed in hexadecimal. */
function pool(file: string, name: string, kind: string | undefined, fields: readonly string[]): Case[] {
  const whole = vectors<Record<string, Case[]> & { texts?: string[] }>(file);
  const cases = (whole[name] ?? []).filter((c) => kind === undefined || c["kind"] === kind);
  if (file === "evidence") return cases.filter((c) => c["fill"] === undefined).map((c) => ({ ...c, file: "", evidence: toHex(utf8((whole.texts ?? []).reduce((all, each, i) => all.replaceAll(`~${i}`, () => each), text(c, "file")))) }));
  return cases.map((c) => {
    const changed = fields.filter((field) => TEXTS.includes(field)).map((field) => [field, c[`${field}_hex`] ?? toHex(utf8(text(c, field)))]);
    return { ...c, ...Object.fromEntries(changed) };
  });
}

/** A case with one of its inputs changed. */
function mutant(cases: readonly Case[], fields: readonly string[], random: Random): Case {
  let c = random.pick(cases);
  // Mostly from what is right: what is wrong already says less by being changed.
  for (let tries = 0; tries < 3 && c["valid"] !== true; tries++) c = random.pick(cases);
  const field = random.pick(fields);
  const other = random.pick(cases);
  return { ...c, [field]: changed(c, other, field, random) };
}

function changed(c: Case, other: Case, field: string, random: Random): unknown {
  if (field === "batches") return rebatched((c[field] as string[][]).map((batch) => batch.map((entry) => fromHex(entry))), random).map((batch) => batch.map(toHex));
  if (field === "proof") {
    const [hashes, at, also] = [[...list(c, field)], random.below(list(c, field).length), random.below(list(c, field).length)];
    const hash = hashes[at] ?? "00".repeat(32);
    const kind = random.below(3);
    hashes.splice(at, kind === 0 ? 1 : 0, ...(kind === 0 ? [] : kind === 1 ? [hash] : [hashes[also] ?? hash]));
    return hashes;
  }
  if (["size", "index", "old_size", "new_size"].includes(field)) {
    const value = BigInt(text(c, field));
    return String(BigInt.asUintN(64, random.pick([value + 1n, value - 1n, value ^ (1n << BigInt(random.below(64))), 0n, -1n])));
  }
  const [ours, theirs] = [bytes(c, field), bytes(other, field)];
  if (["leaf", "root", "old_root", "new_root"].includes(field)) {
    const at = random.below(ours.length);
    return toHex(ours.map((byte, i) => (i === at ? byte ^ (1 << random.below(8)) : byte)));
  }
  if (field === "evidence" && random.below(2) === 0) return toHex(exchanged(ours, theirs, random));
  if (["manifest", "results", "receipt", "evidence"].includes(field) && random.below(2) === 0) return toHex(documented(ours, random));
  let out = ours;
  for (let times = random.below(3); times >= 0; times--) out = stretched(out, theirs, random);
  return toHex(out);
}

/** What the program in Python answers to each line. */
async function ask(argument: string, lines: readonly string[]): Promise<string[]> {
  const python = process.env["PYTHON"] ?? fileURLToPath(new URL("../.tools/bin/python", `file://${specs}`));
  const child = spawn(python, ["-B", "-m", "tests.differential", argument], { cwd: `${specs}reference`, stdio: ["pipe", "pipe", "inherit"] });
  const out: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => out.push(part));
  child.stdin.end(lines.map((line) => `${line}\n`).join(""));
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`Python ended with ${code}`);
  return Buffer.concat(out).toString("utf8").split("\n").filter((line) => line !== "");
}

/** As JSON, whose numbers are those of Python. */
const told = (value: unknown): string => JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? Number(each) : each));

async function outcome(read: Read, c: Case, manifest: Manifest): Promise<string> {
  try {
    return told(await read(c, manifest));
  } catch (error) {
    return error instanceof VerifierError ? "null" : `"${String(error)}"`;
  }
}

async function inputs(count: number, random: Random): Promise<string[]> {
  const manifest = await base();
  const pools = INPUTS.map(([file, name, kind, fields]) => pool(file, name, kind, fields));
  const accepted = new Map<string, number>();
  const [asked, ours]: [string[], string[]] = [[], []];
  for (let n = 0; n < count; n++) {
    const [file, , kind, fields, read] = INPUTS[n % INPUTS.length] ?? fail("case", "none");
    const c = mutant(pools[n % INPUTS.length] ?? [], fields, random);
    const said = await outcome(read, c, manifest);
    const name = `${file}${kind === undefined ? "" : ` ${kind}`}`;
    accepted.set(name, (accepted.get(name) ?? 0) + (said === "null" || said === "false" ? 0 : 1));
    asked.push(JSON.stringify({ file, case: c }));
    ours.push(said);
  }
  console.log(`${count} inputs; accepted of each kind: ${[...accepted].map(([name, times]) => `${name} ${times}`).join(", ")}`);
  const theirs = (await ask(`${specs}vectors`, asked)).map((line, i) => {
    const said = JSON.parse(line) as unknown;
    return told(asked[i]?.startsWith('{"file":"grammar"') === true && Array.isArray(said) ? said.sort(byText) : said);
  });
  return asked.flatMap((line, i) => (ours[i] === theirs[i] ? [] : [`${line}\n  here ${ours[i]}\n  Python ${theirs[i]}`]));
}

async function plantings(count: number, random: Random): Promise<string[]> {
  const known = trees();
  const [asked, ours]: [string[], string[]] = [[], []];
  let sound = 0;
  for (let n = 0; n < count; n++) {
    let at = random.below(known.length);
    for (let tries = 0; tries < 3 && (known[at]?.findings.length ?? 1) > 0; tries++) at = random.below(known.length);
    const tree = known[at] ?? fail("case", "none");
    const changes = replanted(tree.files, random);
    const files = new Map(tree.files);
    for (const [path, data] of changes) if (data === null) files.delete(path); else files.set(path, data);
    const { findings, state } = await audit(files, tree.election);
    sound += findings.length === 0 ? 1 : 0;
    asked.push(JSON.stringify({ case: at, files: Object.fromEntries([...changes].map(([path, data]) => [path, data === null ? null : toHex(data)])) }));
    ours.push(JSON.stringify([[...new Set(findings.map(({ code }) => code))].sort(), state ?? "unknown"]));
  }
  console.log(`${count} trees; without a finding: ${sound}`);
  const theirs = await ask(`${specs}vectors/trees.json`, asked);
  return asked.flatMap((line, i) => {
    const [here, there] = [JSON.parse(ours[i] ?? "null"), JSON.parse(theirs[i] ?? "null")] as ([string[], string] | null)[];
    const same = here && there && (here[0].length > 0) === (there[0].length > 0) && here[1] === there[1];
    return same === true ? [] : [`${line.slice(0, 2000)}\n  here ${ours[i]}\n  Python ${theirs[i]}`];
  });
}

const setting = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);
const random = new Random(setting("SEED", 1));
const different = [...(await inputs(setting("INPUTS", 2600), random)), ...(await plantings(setting("TREES", 400), random))];
for (const each of different) console.log(each);
console.log(`${different.length} disagreements`);
process.exitCode = different.length > 0 ? 1 : 0;
