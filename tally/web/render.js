// Turns verified results into the page. Text goes in by textContent only, and every label of the election stands in a <bdi>, so
// that no name can become markup or reorder what stands beside it.

const NUMBER = new Intl.NumberFormat("en");
const SHARE = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en", { year: "numeric", month: "long", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" });
const METHODS = {
  plurality: "One choice; the option with the most votes wins",
  approval: "Any number of choices; the option with the most approvals wins",
  ranked: "Ranked choices (instant run-off); first preferences",
};
const CHECKS = {
  document: "The results are well formed, and name the contests and options of this election's rules.",
  inclusion: "Each cell's newest count stands in its Merkle tree (inclusion proof).",
  signature: "Each cell's tree is signed with the key that the rules fix for it (Ed25519).",
  sums: "The numbers shown are exactly the sums of these counts.",
  outcome: "The outcome follows from the numbers.",
  history: "Since you opened this page, no cell became smaller or showed two trees of one size.",
};
const STATUS = {
  open: "Voting or counting is under way: these numbers will change",
  final: "Final result",
  cancelled: "The election was cancelled: nothing is counted, and nobody wins",
};
const STATES = { verified: "Verified", unchecked: "Not checked", failed: "Failed" };

const byId = (id) => document.getElementById(id);

/** An element with text or children; never markup. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function label(text) {
  const bdi = document.createElement("bdi");
  bdi.textContent = text;
  return bdi;
}

function header(scope, ...children) {
  const cell = make("th", "", ...children);
  cell.scope = scope;
  return cell;
}

export function showElection(election) {
  byId("title").replaceChildren(label(election.title));
  document.title = `Results: ${election.title}`;
  byId("demo").hidden = !election.demo;
  showMoment("opening", election.times.opening);
  showMoment("closing", election.times.closing);
  byId("times").hidden = false;
  byId("fingerprint").textContent = election.id.replace(/(.{8})(?!$)/g, "$1 ");
}

/** In the reader's own time zone, which it names; for machines in UTC. */
function showMoment(id, ms) {
  const moment = new Date(ms);
  // A manifest may hold times beyond a browser's calendar.
  const known = !Number.isNaN(moment.getTime());
  byId(id).textContent = known ? MOMENT.format(moment) : `${ms} ms after 1970`;
  if (known) byId(id).dateTime = moment.toISOString();
}

/** The numbers. Called with results that passed every check that could be made, and no others. */
export function showResults(election, results) {
  const final = results.status === "final";
  byId("status").textContent = STATUS[results.status];
  byId("votes").textContent = NUMBER.format(results.votes);
  byId("abstentions").textContent = NUMBER.format(results.abstentions);
  byId("limit-rounds").hidden = !(final && election.contests.some((contest) => contest.method === "ranked"));
  const opened = new Set([...document.querySelectorAll("details[open]")].map((details) => details.id));
  byId("contests").replaceChildren(...results.contests.map((contest, c) => contestSection(election.contests[c], contest, c, results)));
  for (const id of opened) {
    const details = byId(id);
    if (details) details.open = true;
  }
}

function contestSection(rules, contest, c, results) {
  const heading = make("h2", "", label(rules.name));
  heading.id = `contest-${c}`;
  const section = make("section", "contest", heading);
  section.setAttribute("aria-labelledby", heading.id);
  if (results.status === "final") section.append(outcomeLine(rules, contest));
  section.append(countTable(rules, contest, results.votes));
  if (contest.rounds !== null) section.append(roundsDetails(rules, contest, c));
  return section;
}

function outcomeLine(rules, contest) {
  if (contest.winner === null) return make("p", "", "No winner: nobody has a vote.");
  const line = make("p", "winner", "Winner: ", label(rules.options[contest.winner]));
  if (rules.method === "ranked") line.append(" (by run-off, which this page does not recount)");
  if (contest.tie_broken) line.append(` (a tie was broken by the rule that was fixed beforehand: ${rules.tie_rule})`);
  return line;
}

function countTable(rules, contest, votes) {
  const filled = votes - contest.blanks;
  const rows = rules.options.map((option, o) => {
    const share = filled > 0 ? contest.counts[o] / filled : 0;
    const bar = make("div", "bar");
    bar.style.width = `${(100 * Math.min(share, 1)).toFixed(2)}%`;
    const track = make("div", "track", bar);
    track.setAttribute("aria-hidden", "true");
    return make("tr", "", header("row", label(option), track), make("td", "", NUMBER.format(contest.counts[o])), make("td", "", SHARE.format(share)));
  });
  const blank = make("tr", "", header("row", "Blank"), make("td", "", NUMBER.format(contest.blanks)), make("td", "", "–"));
  return make(
    "table",
    "counts",
    make("caption", "", METHODS[rules.method] ?? rules.method),
    make("thead", "", make("tr", "", header("col", "Option"), header("col", "Votes"), header("col", "Share"))),
    make("tbody", "", ...rows),
    make("tfoot", "", blank),
  );
}

function roundsDetails(rules, contest, c) {
  const numbers = contest.rounds.map((_, r) => header("col", `Round ${r + 1}`));
  const rows = rules.options.map((option, o) => {
    const cells = contest.rounds.map((round) => {
      if (round.counts[o] === null) return make("td", "", "out");
      return make("td", "", NUMBER.format(round.counts[o]) + (round.eliminated === o ? " (eliminated)" : ""));
    });
    return make("tr", "", header("row", label(option)), ...cells);
  });
  const exhausted = contest.rounds.map((round) => make("td", "", NUMBER.format(round.exhausted)));
  const ties = contest.rounds.map((round) => make("td", "", round.tie_broken ? "tie broken" : ""));
  const foot = make("tfoot", "", make("tr", "", header("row", "Exhausted"), ...exhausted));
  if (contest.rounds.some((round) => round.tie_broken)) foot.append(make("tr", "", header("row", "Ties"), ...ties));
  const table = make(
    "table",
    "",
    make("caption", "", "Votes of each option in each run-off round"),
    make("thead", "", make("tr", "", header("col", "Option"), ...numbers)),
    make("tbody", "", ...rows),
    foot,
  );
  const scroll = make("div", "scroll", table);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Run-off rounds: ${rules.name}`);
  const details = make("details", "", make("summary", "", `Run-off rounds (${contest.rounds.length})`), scroll);
  details.id = `rounds-${c}`;
  return details;
}

/** What was verified of the newest update, in words. */
export function showChecks(outcome, when) {
  const manifest = { state: "verified", details: [] };
  const rows = [checkRow("The rules (contests, options, keys) are those whose SHA-256 fingerprint stands in this page's address.", manifest)];
  rows.push(...outcome.checks.map((check) => checkRow(CHECKS[check.code] ?? check.code, check)));
  byId("checks").replaceChildren(...rows);
  const summary = {
    verified: "Your own browser has verified everything below",
    unchecked: "Your own browser has verified what follows, except where it says \u201cNot checked\u201d",
    failed: "The newest update did NOT pass your browser's checks",
  };
  showBadge(outcome.state);
  byId("proof-summary").textContent = `${summary[outcome.state]}, at ${when.toLocaleTimeString()}.`;
}

function checkRow(text, check) {
  const state = make("span", `state ${check.state}`, STATES[check.state]);
  const row = make("li", "", state, make("span", "", text));
  if (check.details.length > 0) row.append(make("ul", "", ...check.details.map((detail) => make("li", "", label(detail)))));
  return row;
}

/** The outcome in one line beside the numbers; it links to the details. */
function showBadge(state) {
  const text = { verified: "Verified by your browser", unchecked: "Partly verified by your browser: see what was not", failed: "Verification failed" };
  byId("badge").textContent = text[state];
  byId("badge").className = `badge ${state}`;
}

/** `badge` is the state of what is shown below: a warning stays when a later update verifies. */
export function showWarning(text, details, badge = "failed") {
  byId("warning-text").textContent = text;
  byId("warning-list").replaceChildren(...details.map((detail) => make("li", "", label(detail))));
  byId("warning").hidden = false;
  if (byId("contests").childElementCount === 0) byId("status").textContent = "No results that could be verified";
  showBadge(badge);
}

export function showConnection(text) {
  byId("connection").textContent = text;
}

/** For screen readers: a sentence, which the caller keeps rare. */
export function announce(text) {
  byId("announcer").textContent = text;
}
