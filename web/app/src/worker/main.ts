// Runs beside the page, so that nothing that is verified here ever holds up what is shown. One worker follows the election, another recounts stretches.
import { type Bytes, type Manifest, openManifest } from "../../../verifier/src/index.js";
import type { Finding, Follow, FromWorker, Recount, ToWorker } from "../messages.js";
import { Refuted, canVerify } from "./judge.js";
import { recount, sample } from "./recount.js";
import { ROUND_MS, Session } from "./session.js";
import { Source, Unreachable } from "./source.js";

const MANIFEST_MAX = 1 << 20;
/** Results that are asked for before the rules say how long they may be. Longer ones are asked for again. */
const FIRST_RESULTS_MAX = 4 << 20;
const POLL_MS = 5_000;
/** A stream that stays silent this long is helped by asking; nothing is lost if both work. */
const SILENCE_MS = 30_000;
const FIRST_ROUNDS_MS = 1_500;
const ANCHORS_MS = 60_000;
const REMEMBER_MS = 5_000;
const POST_MS = 150;

const post = (message: FromWorker): void => postMessage(message);
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

let session: Session | undefined;
let posting = false;
let kept = 0;

/** At most a few times a second, however fast results come. */
function changed(): void {
  if (posting) return;
  posting = true;
  setTimeout(() => {
    posting = false;
    say();
  }, POST_MS);
}

function say(): void {
  if (session === undefined) return;
  const snapshot = session.snapshot();
  post(snapshot);
  // What was caught is kept at once: the page may be closed before it is next asked.
  if (snapshot.findings.length > kept) post({ kind: "remember", memory: session.memory() });
  kept = snapshot.findings.length;
}

/** What is said while there is no election to speak of. */
function empty(connection: "connecting" | "unreachable", findings: readonly Finding[], incapable = false): void {
  post({ kind: "snapshot", election: undefined, results: undefined, cells: [], head: undefined, checks: [], findings, connection, verifiedAt: undefined, stuckSince: undefined, incapable });
}

interface First {
  readonly results: Promise<Bytes | undefined>;
  readonly rules: Promise<Bytes | undefined>;
  readonly capable: Promise<boolean>;
}

/**
 * Asks for all of it at once, and over the connections that are there: whoever is far away waits for each answer, and twice as long for another connection.
 * What fails here is asked for again. All other files are asked for without any credentials that a front may have given the page.
 */
function first(source: Source): First {
  return {
    results: source.read("results.json", FIRST_RESULTS_MAX, "no-store", "beside").catch(() => undefined),
    rules: source.read("manifest.json", MANIFEST_MAX, "default", "beside").catch(() => undefined),
    capable: canVerify(),
  };
}

/** The follower asks before the page is there to say what for: its own address says so. */
let early = (globalThis as { name?: string }).name === "follower" ? first(new Source(new URL(".", location.href).href)) : undefined;

async function follow({ base, id, memory }: Follow): Promise<void> {
  if (globalThis.crypto?.subtle === undefined) return empty("connecting", memory?.findings ?? [], true);
  const source = new Source(base);
  const { results, rules, capable: asked } = early ?? first(source);
  early = undefined;
  const capable = await asked;
  for (let tries = 0; ; tries++) {
    try {
      session = await Session.open(source, id, (tries === 0 ? await rules : undefined) ?? (await source.need("manifest.json", MANIFEST_MAX)), memory, capable);
      break;
    } catch (error) {
      if (error instanceof Refuted) {
        const findings: Finding[] = [...(memory?.findings ?? []), { id: error.id, at: Date.now(), detail: error.message }];
        post({ kind: "remember", memory: { cells: memory?.cells ?? [], heads: memory?.heads ?? null, findings } });
        return empty("connecting", findings);
      }
      if (!(error instanceof Unreachable)) throw error;
      empty("unreachable", memory?.findings ?? []);
      await pause(POLL_MS);
    }
  }
  changed();
  void stream(session, source, results);
  if (!capable) return;
  void rounds(session);
  setInterval(() => session && post({ kind: "remember", memory: session.memory() }), REMEMBER_MS);
}

async function rounds(session: Session): Promise<void> {
  let anchorsAt = -ANCHORS_MS;
  for (let i = 0; ; i++) {
    await pause(i < 8 ? FIRST_ROUNDS_MS : ROUND_MS);
    await session.round();
    changed();
    if (performance.now() - anchorsAt < ANCHORS_MS && !session.awaitsAnchors) continue;
    await session.readAnchors();
    anchorsAt = performance.now();
    changed();
  }
}

/** Follows the results: by server-sent events, and by asking while those do not come. */
async function stream(session: Session, source: Source, first: Promise<Bytes | undefined>): Promise<void> {
  let newest: Uint8Array<ArrayBuffer> | undefined;
  let last: Uint8Array<ArrayBuffer> | undefined;
  let working = false;
  let heardAt = 0;
  const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);
  // Only the newest counts: verification never queues up behind a fast stream.
  const offer = async (bytes: Uint8Array<ArrayBuffer>): Promise<void> => {
    heardAt = performance.now();
    newest = bytes;
    if (working) return;
    working = true;
    while (newest !== undefined) {
      const next: Uint8Array<ArrayBuffer> = newest;
      newest = undefined;
      if (last !== undefined && same(last, next)) continue;
      const isFirst = last === undefined;
      last = next;
      await session.offer(next);
      // The first numbers are waited for.
      if (isFirst) say();
      else changed();
    }
    working = false;
  };
  const poll = async (): Promise<boolean> => {
    try {
      await offer(await source.need("results.json", session.resultsMax, "no-store"));
      return true;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      return false;
    }
  };
  const encoder = new TextEncoder();
  let events: EventSource | undefined;
  const connect = (): void => {
    if (typeof EventSource === "undefined") return;
    events = new EventSource(`${source.base}events`);
    events.addEventListener("open", () => {
      session.connection = "live";
      changed();
    });
    events.addEventListener("results", ({ data }: MessageEvent<string>) => data.length <= session.resultsMax && void offer(encoder.encode(data)));
  };
  connect();
  void first.then(async (bytes) => {
    // What the stream has brought meanwhile is newer.
    if (last !== undefined) return;
    if (bytes !== undefined && bytes.length <= session.resultsMax) await offer(bytes);
    else await poll();
  });
  for (;;) {
    await pause(POLL_MS);
    const open = events?.readyState === EventSource.OPEN;
    // Once the browser has given the stream up (an error status), it is tried anew.
    if (events?.readyState === EventSource.CLOSED) connect();
    if (open && performance.now() - heardAt < SILENCE_MS) continue;
    const reached = await poll();
    if (!open) session.connection = reached ? "polling" : "unreachable";
    changed();
  }
}

let manifest: Promise<Manifest> | undefined;

/** A second manifest costs nothing where the first is cached; the id fixes both. */
async function count(request: Recount): Promise<void> {
  const source = new Source(request.base);
  manifest ??= source.need("manifest.json", MANIFEST_MAX).then((bytes) => openManifest(bytes, request.id));
  try {
    const opened = await manifest;
    post(request.kind === "recount" ? await recount(source, opened, request) : await sample(source, opened, request));
  } catch (error) {
    manifest = undefined;
    if (!(error instanceof Unreachable)) throw error;
    post({ kind: "not-recounted", why: "unreachable" });
  }
}

addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "follow") void follow(data);
  else if (data.kind === "report") {
    session?.keep(data.finding);
    changed();
  } else void count(data);
});
