// The live results page: fetch the rules once, follow the results, verify each update before it is shown.

import { openElection, ResultsVerifier } from "./verify.js";
import { announce, showChecks, showConnection, showElection, showResults, showWarning } from "./render.js";

const POLL_MS = 5_000;
// A stream that stays silent this long (keep-alives do not show here) is helped by polling; nothing is lost if both work.
const SILENCE_MS = 30_000;
const ANNOUNCE_MS = 15_000;

const electionId = /\/elections\/([0-9a-f]{64})\//.exec(location.pathname)?.[1] ?? "";
let verifier = null;
let election = null;
let newest = null;
let checking = false;
let shown = null;
let heardAt = 0;
let announcedAt = 0;
let failures = 0;
let refuted = [];

/** Keeps only the newest update: verification never queues up behind a fast stream. */
function offer(bytes) {
  heardAt = performance.now();
  newest = bytes;
  if (!checking) void work();
}

async function work() {
  checking = true;
  while (newest !== null) {
    const bytes = newest;
    newest = null;
    if (shown !== null && sameContent(shown, bytes)) continue;
    const outcome = await verifier.check(bytes).catch(unexpected);
    const now = new Date();
    showChecks(outcome, now);
    if (outcome.state === "failed") {
      refuse(outcome);
    } else {
      shown = bytes;
      showResults(election, outcome.results);
      if (failures > 0) warn(outcome.state);
      sayNow(outcome);
    }
  }
  checking = false;
}

/** Whatever the verifier stumbles over was not verified. */
function unexpected() {
  return { results: null, state: "failed", checks: [{ code: "document", state: "failed", details: ["the update could not be checked at all"] }] };
}

function sameContent(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The warning stays until the page is reloaded: one refuted update is reason enough to ask. */
function refuse(outcome) {
  failures += 1;
  refuted = outcome.checks.filter((check) => check.state === "failed").flatMap((check) => check.details);
  warn("failed");
}

/** Says what is shown below the warning, which may have changed since the update that was refuted. */
function warn(badge) {
  const kept = shown === null ? "No numbers are shown." : "The numbers below are the newest ones that could be verified.";
  showWarning(`${failures === 1 ? "An update" : `${failures} updates`} of the results did not pass verification. ${kept}`, refuted, badge);
}

function sayNow(outcome) {
  const { status: state } = outcome.results;
  if (performance.now() - announcedAt < ANNOUNCE_MS && announcedAt > 0 && state === "open") return;
  announcedAt = performance.now();
  const status = { open: "", final: "Final result. ", cancelled: "The election was cancelled. " }[state];
  const proof = outcome.state === "verified" ? "verified by your browser" : "partly verified by your browser";
  announce(`${status}${outcome.results.votes} votes, ${proof}.`);
}

async function poll() {
  try {
    const response = await fetch("results.json", { cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    offer(new Uint8Array(await response.arrayBuffer()));
    return true;
  } catch {
    return false;
  }
}

function follow() {
  const encoder = new TextEncoder();
  let stream = null;
  const connect = () => {
    stream = new EventSource("events");
    stream.addEventListener("open", () => showConnection("live"));
    stream.addEventListener("results", (event) => offer(encoder.encode(event.data)));
  };
  connect();
  void poll();
  setInterval(async () => {
    const open = stream.readyState === EventSource.OPEN;
    // Once the browser has given the stream up (an error status), try anew.
    if (stream.readyState === EventSource.CLOSED) connect();
    if (open && performance.now() - heardAt < SILENCE_MS) return;
    const reached = await poll();
    if (!open) showConnection(reached ? `asking every ${POLL_MS / 1000} seconds` : "the server cannot be reached; the numbers may be old");
  }, POLL_MS);
}

async function start() {
  let bytes;
  try {
    const response = await fetch("manifest.json");
    if (!response.ok) throw new Error(String(response.status));
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch {
    showConnection("the server cannot be reached; trying again");
    setTimeout(start, POLL_MS);
    return;
  }
  try {
    election = await openElection(electionId, bytes, globalThis.crypto?.subtle);
  } catch (error) {
    showWarning("This page could not establish whose results these are, so it shows none.", [error.message]);
    return;
  }
  verifier = new ResultsVerifier(election);
  showElection(election);
  follow();
}

void start();
