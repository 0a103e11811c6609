// The results page: shows what its workers verify. It fetches nothing from the election itself but its other languages.
import { render } from "preact";
import type { Finding, FromWorker, Memory, Point, Snapshot, ToWorker } from "../messages.js";
import { App, type Actions, type Shown } from "./app.js";
import { isFinding } from "./proof.js";
import { follower, start } from "./start.js";
import { type Language, Speech, keepLanguage, load, preferred, read, write } from "./words.js";

/** What recounting may cost: a piece, and all pieces that nobody asked for. */
const [PIECE_BYTES, PIECE_VOTES, AUTO_BYTES] = [600_000, 1_000, 12_000_000];
const SAMPLE_BYTES = 1_000_000;
const [FIRST_PIECE_MS, PIECE_MS] = [2_000, 60_000];
/** After news were drawn, the next wait this many times as long as that took, and never longer than a second. */
const [REST, REST_MAX_MS] = [12, 1_000];

const id = /\/elections\/([0-9a-f]{64})\//.exec(location.pathname)?.[1] ?? "";
const base = new URL(".", location.href).href;
/** The id that the reader brings, behind the address: `#id=…`, as a printed code has it. It never reaches the server. */
const brought = /[#&]id=([^&]*)/.exec(location.hash)?.[1]?.toLowerCase().slice(0, 200);
addEventListener("hashchange", () => /[#&]id=/.test(location.hash) && location.reload());
const MEMORY = `tallyroot-${id}`;

const saving = (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;
const otherId: Finding | undefined = brought === undefined || brought === id ? undefined : { id: "other-id", at: Date.now(), detail: `${brought} is not ${id}` };
const nothing: Snapshot = {
  kind: "snapshot", election: undefined, results: undefined, cells: [], head: undefined, checks: [], findings: otherId === undefined ? [] : [otherId], connection: "connecting",
  verifiedAt: undefined, stuckSince: undefined, incapable: false,
};

let shown: Shown;
/** Undefined: nothing waits to be drawn. */
let drawing: "now" | ReturnType<typeof setTimeout> | undefined;
/** When news may be drawn again. */
let rested = 0;

function draw(): void {
  drawing = undefined;
  const begun = performance.now();
  render(<App shown={shown} actions={actions} />, root);
  // Layout and paint come behind the script, before the next task.
  setTimeout(() => {
    const now = performance.now();
    rested = now + Math.min(REST * (now - begun), REST_MAX_MS);
  });
}

/** Draws at most once a frame, whatever comes; and news so rarely that drawing takes a small part of the time also where it is slow: what the reader does comes first. */
function update(change: Partial<Shown>, isNews = false): void {
  shown = { ...shown, ...change };
  const wait = isNews ? rested - performance.now() : 0;
  if (drawing === "now" || (drawing !== undefined && wait > 0)) return;
  clearTimeout(drawing);
  // Frames do not come to a page that nobody sees.
  const visible = document.visibilityState === "visible";
  const soon = (): void => {
    drawing = "now";
    if (visible) requestAnimationFrame(draw);
    else setTimeout(draw, 200);
  };
  if (wait > 0) drawing = setTimeout(soon, wait);
  else soon();
}

const root = document.getElementById("app") ?? document.body;

async function speak(language: Language): Promise<void> {
  const words = await load(language).catch(() => undefined);
  if (words === undefined) return;
  const speech = new Speech(language, words);
  document.documentElement.lang = language;
  document.documentElement.dir = speech.direction;
  update({ speech });
}

function recalled(): Memory | null {
  try {
    const memory = JSON.parse(read(MEMORY) ?? "null") as Memory | null;
    // Another version of this page may have written it.
    return memory !== null && Array.isArray(memory.cells) && Array.isArray(memory.findings)
      ? { ...memory, findings: memory.findings.filter((finding) => isFinding(finding?.id)) }
      : null;
  } catch {
    return null;
  }
}

/** What another window caught meanwhile stays. */
function remember(memory: Memory): void {
  const same = (one: Finding, other: Finding): boolean => one.id === other.id && one.cell === other.cell;
  const others = (recalled()?.findings ?? []).filter((kept) => !memory.findings.some((finding) => same(kept, finding)));
  write(MEMORY, JSON.stringify({ ...memory, findings: [...memory.findings, ...others].slice(0, 20) } satisfies Memory));
}

const ready = Promise.resolve().then(run);

let counter: Worker | undefined;
let sampled = false;

function ask(kind: "recount" | "sample"): void {
  counter ??= listen(start("counter"));
  const cells = shown.snapshot.cells.map(({ size, note }) => ({ size, note }));
  counter.postMessage({ kind, base, id, cells, maxBytes: kind === "sample" ? SAMPLE_BYTES : PIECE_BYTES, maxVotes: PIECE_VOTES } satisfies ToWorker);
}

function recount(): void {
  update({ crowd: { ...shown.crowd, running: true } });
  ask("recount");
}

function recountByItself(): void {
  const { crowd, snapshot } = shown;
  if (crowd.auto && !crowd.running && crowd.bytes < AUTO_BYTES && snapshot.verifiedAt !== undefined && document.visibilityState === "visible") recount();
}

function listen(worker: Worker): Worker {
  // In their order, and not before there is something that they change.
  worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => void ready.then(() => hear(data)));
  return worker;
}

/** The same rules and the same numbers stay the same objects, so that nothing of them is drawn again: there may be 4,096 options. */
function steady(before: Snapshot, now: Snapshot): Snapshot {
  const election = before.election?.id === now.election?.id ? before.election : now.election;
  const results = now.verifiedAt !== undefined && now.verifiedAt === before.verifiedAt ? before.results : now.results;
  return { ...now, election, results };
}

function hear(message: FromWorker): void {
  const { crowd } = shown;
  switch (message.kind) {
    case "snapshot":
      update({ snapshot: steady(shown.snapshot, message) }, shown.snapshot.verifiedAt !== undefined);
      if (!sampled && message.results !== undefined && message.results.votes > 0 && message.verifiedAt !== undefined) {
        sampled = true;
        ask("sample");
        setTimeout(recountByItself, FIRST_PIECE_MS);
      }
      return;
    case "remember": return remember(message.memory);
    case "history": return update({ history: message.points as Point[][] });
    case "recounted":
      return update({
        crowd: { ...crowd, running: false, missed: undefined, last: message, pieces: crowd.pieces + 1, votes: crowd.votes + message.votes, bytes: crowd.bytes + message.bytes },
      });
    case "not-recounted": return update({ crowd: { ...crowd, running: false, missed: message.why } });
    case "recount-failed":
      follower.postMessage({ kind: "report", finding: message.finding } satisfies ToWorker);
      return update({ crowd: { ...crowd, running: false } });
  }
}

const actions: Actions = {
  setLanguage(language) {
    keepLanguage(language);
    void speak(language);
  },
  again: recount,
  setAuto: (auto) => update({ crowd: { ...shown.crowd, auto } }),
  setCompared: (compared) => update({ compared }),
  forget() {
    // The follower would else remember it again.
    follower.terminate();
    write(MEMORY, null);
    location.reload();
  },
};

// Before anything is drawn. A reader who means another election is shown nothing of this one.
const follows = otherId === undefined;
if (follows) listen(follower).postMessage({ kind: "follow", base, id, memory: recalled() } satisfies ToWorker);
else follower.terminate();

async function run(): Promise<void> {
  const language = preferred();
  const words = await load(language).catch(() => load("en"));
  shown = {
    id, base, bundle: document.querySelector<HTMLMetaElement>('meta[name="bundle"]')?.content ?? "", speech: new Speech(language, words), snapshot: nothing, history: [],
    crowd: { pieces: 0, votes: 0, bytes: 0, last: undefined, missed: undefined, running: false, auto: !saving, saving }, compared: brought === id ? true : undefined,
  };
  root.replaceChildren();
  await speak(language);
  if (follows) setInterval(recountByItself, PIECE_MS);
}
