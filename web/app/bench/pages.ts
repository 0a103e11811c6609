// How fast the results page is, on a named slow profile, and what an hour of it costs. `make bench-web`; figures in README.md.
import { cpus, loadavg } from "node:os";
import type { Browser, CDPSession, Page } from "playwright-core";
import { launch, visit } from "../test/browser.js";
import { SLOW_4G, slow } from "./link.js";
import { type Recorded, Replay, ballots, columns, faster, record } from "./replay.js";

const LOADS = 5;
const HOUR_MS = 3_600_000;
/** An hour passes in three minutes. */
const SPEED = 20;
const SAMPLES = 18;
/** As often as the tally looks for news. */
const UPDATE_MS = 200;
const STREAM_MS = 20_000;

const say = (text: string): void => console.log(text);
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

async function throttled(page: Page, cpu: number): Promise<CDPSession> {
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: cpu });
  return session;
}

/** What a page notes of itself: tasks over 50 ms, when numbers were first shown and verified, and when each frame came. */
function watch(): void {
  const noted = { tasks: [] as [number, number][], shown: 0, verified: 0, frames: [] as number[] };
  Object.assign(globalThis, { noted });
  new PerformanceObserver((list) => list.getEntries().forEach(({ startTime, duration }) => noted.tasks.push([startTime, duration]))).observe({ type: "longtask", buffered: true });
  const frame = (): void => {
    const now = performance.now();
    noted.frames.push(now);
    if (noted.shown === 0 && document.querySelector("table.counts") !== null) noted.shown = now;
    if (noted.verified === 0 && document.querySelector('[data-check="numbers"][data-state="verified"]') !== null) noted.verified = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
interface Noted { tasks: [number, number][]; shown: number; verified: number; frames: number[] }
const noted = (page: Page): Promise<Noted> => page.evaluate(() => (globalThis as unknown as { noted: Noted }).noted);

/** First visits over the slow link: interactive is when verified numbers stand there and no task of over 50 ms comes for two seconds. */
async function loads(browser: Browser, recorded: Recorded): Promise<void> {
  const [shown, interactive, longest, bytes]: number[][] = [[], [], [], []];
  for (let i = 0; i < LOADS; i++) {
    const replay = await Replay.open(recorded);
    replay.now = recorded.moments.length - 1;
    const link = await slow(replay.port, SLOW_4G);
    const { page } = await visit(browser, "about:blank", { viewport: { width: 360, height: 740 } });
    await page.addInitScript(watch);
    await throttled(page, SLOW_4G.cpu);
    await page.goto(`http://localhost:${link.port}${replay.path}`);
    await page.waitForFunction(() => (globalThis as unknown as { noted: Noted }).noted.verified > 0);
    bytes?.push(replay.sent);
    await pause(4_000);
    const { tasks, shown: first, verified } = await noted(page);
    // As Lighthouse has it: the end of the last long task before two quiet seconds.
    let quiet = Math.max(first, verified);
    for (const [start, duration] of tasks) if (start < quiet + 2_000) quiet = Math.max(quiet, start + duration);
    shown?.push(first);
    interactive?.push(quiet);
    longest?.push(Math.max(0, ...tasks.map(([, duration]) => duration)));
    await page.context().close();
    link.close();
    replay.close();
  }
  const list = (values: readonly number[] = []): string => `${median(values).toFixed(0)} (${values.map((value) => value.toFixed(0)).join(", ")})`;
  say(`  first load, ${SLOW_4G.name}, ms: numbers shown ${list(shown)}; interactive ${list(interactive)}; longest task ${list(longest)}; bytes sent until then ${list(bytes)}`);
}

/** Frames that did not come, in percent of those that were due. */
function dropped(frames: readonly number[], from: number, to: number): { percent: number; worst: number } {
  const seen = frames.filter((time) => time >= from && time <= to);
  const gaps = seen.slice(1).map((time, i) => time - (seen[i] ?? 0));
  const step = 1_000 / 60;
  const missing = gaps.reduce((sum, gap) => sum + Math.max(0, Math.round(gap / step) - 1), 0);
  return { percent: (100 * missing) / (missing + gaps.length), worst: Math.max(...gaps) };
}

/** Updates as fast as the tally ever sends them, beside the same page at rest. */
async function stream(browser: Browser, recorded: Recorded, cpu: number): Promise<void> {
  const replay = await Replay.open(recorded);
  const { page } = await visit(browser, "about:blank", { viewport: { width: 1000, height: 800 } });
  await page.addInitScript(watch);
  await page.goto(`http://localhost:${replay.port}${replay.path}`);
  await page.waitForFunction(() => (globalThis as unknown as { noted: Noted }).noted.verified > 0);
  await throttled(page, cpu);
  await pause(5_000);
  const now = (): Promise<number> => page.evaluate(() => performance.now());
  const rested = await now();
  await pause(STREAM_MS / 2);
  const begun = await now();
  const steps = Math.min(STREAM_MS / UPDATE_MS, recorded.moments.length - 1);
  for (let i = 1; i <= steps; i++) {
    replay.show(Math.round((i * (recorded.moments.length - 1)) / steps));
    await pause(UPDATE_MS);
  }
  const ended = await now();
  const { tasks, frames } = await noted(page);
  const [still, busy] = [dropped(frames, rested, begun), dropped(frames, begun, ended)];
  const longest = Math.max(0, ...tasks.filter(([start]) => start >= begun && start <= ended).map(([, duration]) => duration));
  say(`  ${steps} updates, one in ${UPDATE_MS} ms, processor ${cpu} times as slow: ${busy.percent.toFixed(1)} % of frames dropped (at rest ${still.percent.toFixed(1)} %), longest gap ${busy.worst.toFixed(0)} ms (at rest ${still.worst.toFixed(0)}), longest task ${longest.toFixed(0)} ms`);
  await page.context().close();
  replay.close();
}

/** The slope of the line through these points that leaves the least squares. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (of: 0 | 1): number => points.reduce((sum, point) => sum + point[of], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  return points.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0) / points.reduce((sum, [a]) => sum + (a - x) ** 2, 0);
}

/** An hour open: every clock of page and workers runs faster, and the results change all the while. */
async function hour(browser: Browser, recorded: Recorded): Promise<void> {
  const replay = await Replay.open(recorded, SPEED);
  const { page, problems } = await visit(browser, "about:blank");
  await page.addInitScript(faster(SPEED));
  await page.goto(`http://localhost:${replay.port}${replay.path}`);
  await page.locator('[data-check="numbers"][data-state="verified"]').waitFor();
  const session = await page.context().newCDPSession(page);
  const samples: { minute: number; heap: number; nodes: number }[] = [];
  const steps = recorded.moments.length - 1;
  const begun = performance.now();
  for (let i = 0; i <= steps; i++) {
    replay.show(i);
    if (i % Math.max(1, Math.floor(steps / SAMPLES)) === 0) {
      for (let n = 0; n < 2; n++) await session.send("HeapProfiler.collectGarbage");
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      const { nodes } = await session.send("Memory.getDOMCounters");
      samples.push({ minute: ((performance.now() - begun) * SPEED) / 60_000, heap: usedSize / 1e6, nodes });
    }
    await pause(Math.max(0, begun + ((i + 1) * HOUR_MS) / SPEED / (steps + 1) - performance.now()));
  }
  // What starts up is no growth: the first sixth is left out.
  const settled = samples.filter(({ minute }) => minute >= 10);
  const line = (name: "heap" | "nodes", digits: number): string => {
    const [first, last] = [settled[0]?.[name] ?? NaN, settled.at(-1)?.[name] ?? NaN];
    return `${first.toFixed(digits)} to ${last.toFixed(digits)}, ${(60 * slope(settled.map((sample) => [sample.minute, sample[name]] as const))).toFixed(digits)} an hour`;
  };
  say(`  an hour, ${SPEED} times as fast, ${steps} changes: page's heap ${line("heap", 2)} (MB; the worker's is not seen); DOM nodes ${line("nodes", 0)}; problems ${problems.length}`);
  say(`    every sample (minute: page MB, nodes): ${samples.map(({ minute, heap, nodes }) => `${minute.toFixed(0)}: ${heap.toFixed(2)} ${nodes}`).join("; ")}`);
  await page.context().close();
  replay.close();
}

/** `small` or `large`, and `loads`, `stream` or `hour`: only these. */
const asked = process.argv.slice(2);
const only = (...names: readonly string[]): ((name: string) => boolean) => (name) => !names.some((one) => asked.includes(one)) || asked.includes(name);
const [election, part] = [only("small", "large"), only("loads", "stream", "hour")];
const browser = await launch();
say(`${cpus().length} x ${cpus()[0]?.model.trim()}, Chromium ${browser.version()}, Node ${process.version}; load before: ${loadavg()[0]?.toFixed(1)}`);
const elections = [
  { size: "small", name: "two cells, three contests", options: () => ["--voters", "6000", "--cells", "2"] },
  { size: "large", name: "16 cells, 4,096 options, 20 of them ranked by every voter", options: () => ["--cells", "16", "--ballots", ballots(4_096, 4_096, 20), "--choices", columns(20)] },
];
for (const { size, name, options } of elections) {
  if (!election(size)) continue;
  const recorded = await record(...options());
  say(`${name}: ${recorded.moments.length} states of the results, the newest of ${recorded.moments.at(-1)?.results.length} bytes`);
  if (part("loads")) await loads(browser, recorded);
  if (part("stream")) for (const cpu of [1, SLOW_4G.cpu]) await stream(browser, recorded, cpu);
  if (part("hour")) await hour(browser, recorded);
}
await browser.close();
