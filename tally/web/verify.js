// What an open results page can prove by itself: that the numbers are the sums of tally entries which stand in the cells' Merkle
// trees, under checkpoints signed with the keys of the manifest whose hash is the election id.
//
// No DOM and no network here, so that the same file runs in a browser and under Node. Nothing is believed before it is checked:
// the manifest goes by its hash, each proof by the manifest's keys, and only then are numbers compared.

import { FormatError, fromHex, integer, list, members, parseCanonical, parseProof, parseTally, sameBytes, toHex } from "./formats.js";
import { hasEd25519, keyId, leafHash, rootFromInclusion, sha256, verifyEd25519 } from "./crypto.js";

const TIMES = ["closing", "grace", "opening", "registration"];
const CONTEST = ["method", "name", "options", "tie_rule"];
const RESULTS = ["abstentions", "cells", "contests", "election", "format", "status", "votes"];
const RESULT_CONTEST = ["blanks", "counts", "name", "options", "rounds", "tie_broken", "winner"];
const ROUND = ["counts", "eliminated", "exhausted", "tie_broken"];

/** The election behind an id, read from manifest bytes that hash to it. Throws where they do not. */
export async function openElection(electionId, manifestBytes, subtle) {
  fromHex(electionId, 32);
  if (subtle === undefined) throw new FormatError("this browser offers no cryptography on this address (it needs https)");
  if (toHex(await sha256(subtle, manifestBytes)) !== electionId) {
    throw new FormatError("the rules that this server sent are not those of the election in the address: their fingerprint is another");
  }
  // From here on the bytes are fixed by the id; these checks only keep the code below from stumbling.
  const manifest = parseCanonical(manifestBytes, "the manifest");
  if (manifest.format !== "tallyroot/v1/manifest") throw new FormatError("the manifest has another format than this page knows");
  members(manifest.times, TIMES, "the manifest's times");
  const contests = list(manifest.contests, "the manifest's contests");
  for (const contest of contests) {
    members(contest, CONTEST, "a contest");
    list(contest.options, "a contest's options");
  }
  return {
    id: electionId,
    title: manifest.title,
    base: manifest.base,
    demo: manifest.demo,
    times: { opening: manifest.times.opening, closing: manifest.times.closing },
    contests,
    cells: list(manifest.cells, "the manifest's cells").map((pair) => ({ main: fromHex(pair.main, 32), spare: fromHex(pair.spare, 32) })),
    subtle,
    ed25519: await hasEd25519(subtle),
  };
}

/**
 * Verifies successive results of one election, remembering what it saw.
 * `check(bytes)` gives `{results, checks: [{code, state, detail}], state}`, where a state is `verified`, `unchecked` or `failed`.
 */
export class ResultsVerifier {
  #election;
  // By cell: what its last part proved, so that an unchanged proof is not verified again and a cell that goes back is noticed.
  #cells = new Map();
  // "final" or "cancelled", once that was said.
  #ended = null;

  constructor(election) {
    this.#election = election;
  }

  async check(bytes) {
    const checks = new Checks();
    let results = null;
    try {
      results = readResults(this.#election, bytes);
      checks.passed("document");
    } catch (error) {
      checks.failed("document", reason(error));
      return checks.outcome(null);
    }
    const parts = await Promise.all(results.cells.map((cell) => this.#part(cell, checks)));
    checks.finish("inclusion");
    checks.finish("signature");
    this.#history(results, parts, checks);
    if (parts.every((part) => part !== null)) compareSums(this.#election, results, parts, checks);
    if (results.status === "final") compareOutcome(this.#election, results, checks);
    const outcome = checks.outcome(results);
    // Only what was not refuted is remembered: a forged update must not make the honest one after it look like a step back.
    if (outcome.state !== "failed") {
      parts.forEach((part, cell) => this.#cells.set(cell, part));
      if (results.status !== "open") this.#ended = results.status;
    }
    return outcome;
  }

  /** Proves one cell's part, and gives `{size, proof, root, tally}`; null where something is wrong with it. */
  async #part(cell, checks) {
    const known = this.#cells.get(cell.cell);
    if (known !== undefined && known.size === cell.size && known.proof === cell.proof) {
      checks.add("signature", known.signature);
      checks.passed("inclusion");
      return known;
    }
    try {
      return await provePart(this.#election, cell, checks);
    } catch (error) {
      checks.failed("inclusion", `cell ${cell.cell}: ${reason(error)}`);
      return null;
    }
  }

  /** A log only grows, and has one root at each size. */
  #history(results, parts, checks) {
    for (const [cell, part] of parts.entries()) {
      const known = this.#cells.get(cell);
      if (part === null || known === undefined) continue;
      if (part.size < known.size) checks.failed("history", `cell ${cell} went back from ${known.size} to ${part.size} entries`);
      else if (part.size === known.size && part.root && known.root && !sameBytes(part.root, known.root)) {
        checks.failed("history", `cell ${cell} shows two different trees of ${part.size} entries: this is proof of a fork, keep it`);
      }
    }
    if (this.#ended !== null && results.status !== this.#ended) {
      checks.failed("history", `the election was said to be ${this.#ended}, and now is said to be ${results.status}`);
    }
    checks.finish("history");
  }
}

/** Checks the shape of results.json, and that its labels are the manifest's. */
function readResults(election, bytes) {
  const results = members(parseCanonical(bytes, "results.json"), RESULTS, "results.json");
  if (results.format !== "tallyroot/v1/results") throw new FormatError("results.json has another format than this page knows");
  if (results.election !== election.id) throw new FormatError("these are the results of another election");
  if (!["open", "final", "cancelled"].includes(results.status)) throw new FormatError("results.json has an unknown status");
  integer(results.votes, "votes");
  integer(results.abstentions, "abstentions");
  if (list(results.cells, "cells").length !== election.cells.length) throw new FormatError("results.json does not list every cell");
  results.cells.forEach((cell, k) => {
    members(cell, ["cell", "proof", "size"], "a cell");
    integer(cell.size, "a cell's size");
    if (cell.cell !== k) throw new FormatError("results.json does not list the cells in order");
    if (cell.proof !== null && typeof cell.proof !== "string") throw new FormatError("a cell's proof is not text");
  });
  if (list(results.contests, "contests").length !== election.contests.length) throw new FormatError("results.json does not list every contest");
  results.contests.forEach((contest, c) => readContest(election.contests[c], contest, results.status));
  return results;
}

function readContest(rules, contest, status) {
  members(contest, RESULT_CONTEST, "a contest");
  const sameLabels = contest.name === rules.name && JSON.stringify(list(contest.options, "options")) === JSON.stringify(rules.options);
  if (!sameLabels) throw new FormatError("a contest or option is named otherwise than in the manifest");
  integer(contest.blanks, "blanks");
  const counts = list(contest.counts, "counts");
  if (counts.length !== rules.options.length) throw new FormatError("a contest does not have one count for each option");
  counts.forEach((count) => integer(count, "a count"));
  const optionOrNull = (value) => {
    if (value !== null && integer(value, "an option") >= rules.options.length) throw new FormatError("results.json names an option that does not exist");
  };
  optionOrNull(contest.winner);
  const decided = contest.winner !== null || contest.rounds !== null || contest.tie_broken !== null;
  if (status !== "final" && decided) throw new FormatError(`results.json names an outcome although the election is ${status}`);
  if (contest.rounds === null) return;
  for (const round of list(contest.rounds, "rounds")) {
    members(round, ROUND, "a round");
    if (list(round.counts, "a round's counts").length !== rules.options.length) throw new FormatError("a round does not have one count for each option");
    round.counts.forEach((count) => count === null || integer(count, "a round's count"));
    integer(round.exhausted, "exhausted");
    optionOrNull(round.eliminated);
  }
}

async function provePart(election, cell, checks) {
  const { subtle } = election;
  if (cell.proof === null) {
    // Genesis alone, or genesis and close: larger logs hold a tally entry.
    if (cell.size > 2) throw new FormatError("it has votes and shows no tally entry");
    checks.passed("inclusion");
    checks.add("signature", "verified");
    return { size: cell.size, proof: null, root: null, signature: "verified", tally: null };
  }
  const { extra, index, path, note } = parseProof(cell.proof);
  const origin = `${election.base}/elections/${election.id}/cells/${cell.cell}`;
  if (note.origin !== origin || note.signer !== origin) throw new FormatError("its checkpoint belongs to another log");
  if (note.size !== cell.size) throw new FormatError("its checkpoint has another size than the results say");
  const signature = await checkSignature(election, cell.cell, note, checks);
  // The newest batch ends in the tally entry; only a close may stand after it.
  if (index + 1 !== cell.size && index + 2 !== cell.size) throw new FormatError("the tally entry that it shows is not its newest");
  const root = await rootFromInclusion(subtle, await leafHash(subtle, extra), index, note.size, path);
  if (!sameBytes(root, note.root)) throw new FormatError("the tally entry is not in the tree that its checkpoint signs");
  const tally = parseTally(extra, election.contests);
  checks.passed("inclusion");
  return { size: cell.size, proof: cell.proof, root: note.root, signature, tally };
}

async function checkSignature(election, cell, note, checks) {
  const { subtle, ed25519 } = election;
  const keys = election.cells[cell];
  if (!ed25519) {
    checks.unchecked("signature", "this browser cannot verify Ed25519 signatures");
    return "unchecked";
  }
  const signedWith = async (key) =>
    sameBytes(await keyId(subtle, note.origin, key), note.keyId) && (await verifyEd25519(subtle, key, note.signature, note.body));
  if (await signedWith(keys.main)) {
    checks.passed("signature");
    return "verified";
  }
  if (await signedWith(keys.spare)) {
    checks.unchecked("signature", `cell ${cell}: signed with the spare key; the notice that allows it was not checked here`);
    return "unchecked";
  }
  throw new FormatError("its checkpoint is not signed with the election's key");
}

function compareSums(election, results, parts, checks) {
  const sum = (read) => parts.reduce((total, part) => total + (part.tally === null ? 0 : read(part.tally)), 0);
  const compare = (shown, read, what) => {
    const proven = sum(read);
    if (proven !== shown) checks.failed("sums", `${what}: ${shown} is shown, the cells prove ${proven}`);
  };
  compare(results.votes, (tally) => tally.votes, "votes");
  compare(results.abstentions, (tally) => tally.abstentions, "abstentions");
  results.contests.forEach((contest, c) => {
    compare(contest.blanks, (tally) => tally.contests[c].blanks, `blanks in contest ${c + 1}`);
    contest.counts.forEach((count, o) => compare(count, (tally) => tally.contests[c].counts[o], `option ${o + 1} of contest ${c + 1}`));
  });
  checks.finish("sums");
}

/** The outcome, as far as the proven counts decide it: run-off rounds need all ballots. */
function compareOutcome(election, results, checks) {
  results.contests.forEach((contest, c) => {
    const { method } = election.contests[c];
    if (method === "ranked") {
      checks.unchecked("outcome", "run-off rounds need every ballot");
      const first = contest.rounds?.[0];
      if (first === undefined || contest.counts.some((count, o) => first.counts[o] !== count)) {
        checks.failed("outcome", `contest ${c + 1}: the first round is not the first preferences`);
      }
      return;
    }
    // "the option with the highest count wins; among equals, the first in the manifest's order. No vote at all: no winner."
    const highest = Math.max(...contest.counts);
    const winner = highest === 0 ? null : contest.counts.indexOf(highest);
    const tied = highest > 0 && contest.counts.filter((count) => count === highest).length > 1;
    if (contest.winner !== winner || contest.tie_broken !== tied || contest.rounds !== null) {
      checks.failed("outcome", `contest ${c + 1}: the winner shown does not follow from the counts`);
    }
  });
  checks.finish("outcome");
}

function reason(error) {
  return error instanceof FormatError ? error.message : "it could not be read";
}

/** Collects outcomes by code; the worst one stands. */
class Checks {
  #byCode = new Map();

  add(code, state, detail = null) {
    const rank = { verified: 0, unchecked: 1, failed: 2 };
    const check = this.#byCode.get(code) ?? { code, state: "verified", details: new Set() };
    if (rank[state] > rank[check.state]) check.state = state;
    // Bounded: a page that a hostile server fills with a thousand reasons explains nothing.
    if (detail !== null && check.details.size < 20) check.details.add(detail);
    this.#byCode.set(code, check);
  }

  passed(code) {
    this.add(code, "verified");
  }

  unchecked(code, detail) {
    this.add(code, "unchecked", detail);
  }

  failed(code, detail) {
    this.add(code, "failed", detail);
  }

  /** Verified, unless something else was said before. */
  finish(code) {
    this.add(code, "verified");
  }

  outcome(results) {
    const checks = [...this.#byCode.values()].map(({ code, state, details }) => ({ code, state, details: [...details] }));
    const states = checks.map((check) => check.state);
    const state = states.includes("failed") ? "failed" : states.includes("unchecked") ? "unchecked" : "verified";
    return { results, checks, state };
  }
}
