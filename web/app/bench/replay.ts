// A real election, recorded while its votes came in, and shown again at any speed.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { BINARY, folder } from "../test/election.js";

/** What changes while an election runs: all other files only come. */
interface Moment { readonly results: Buffer; readonly head: Buffer }

export interface Recorded { readonly id: string; readonly files: string; readonly moments: readonly Moment[] }

const POLICY = /^const POLICY: &str = "(.*)";$/m.exec(readFileSync(resolve("../../tally/src/web/page.rs"), "utf8"))?.[1] ?? "";
const LOOK_MS = 25;

/** Plays a demo with these options, and keeps every state of its results. */
export async function record(...options: readonly string[]): Promise<Recorded> {
  const data = folder();
  const child = spawn(BINARY, ["demo", "--data", data, "--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "ignore", "pipe"] });
  process.on("exit", () => child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
  const moments: Moment[] = [];
  const elections = join(data, "public/elections");
  for (let ended = false; !ended; ) {
    if (child.exitCode !== null) throw new Error(said);
    ended = said.includes("staying up until");
    await new Promise((done) => setTimeout(done, LOOK_MS));
    const id = existsSync(elections) ? readdirSync(elections)[0] : undefined;
    if (id === undefined || !["results.json", "heads/checkpoint"].every((name) => existsSync(join(elections, id, name)))) continue;
    // The head first: it never names more than the results behind it show.
    const head = readFileSync(join(elections, id, "heads/checkpoint"));
    const results = readFileSync(join(elections, id, "results.json"));
    if (moments.at(-1)?.results.equals(results) !== true) moments.push({ results, head });
  }
  child.kill("SIGKILL");
  const id = readdirSync(elections)[0] ?? "";
  return { id, files: join(elections, id), moments };
}

/** A file of many long ballots: each ranks `ranks` of `options`. */
export function ballots(voters: number, options: number, ranks: number): string {
  const names = Array.from({ length: options }, (_, i) => `Candidate number ${i + 1} of a very long list`);
  let seed = 1;
  const next = (): number => (seed = (seed * 48_271) % 2_147_483_647);
  const row = (voter: number): string => [voter, ...Array.from({ length: ranks }, (_, r) => names[(r === 0 ? voter : next()) % options])].join(",");
  const file = join(folder(), "ballots.csv");
  writeFileSync(file, `voter,${columns(ranks)}\n${Array.from({ length: voters }, (_, voter) => row(voter)).join("\n")}\n`);
  return file;
}

export const columns = (ranks: number): string => Array.from({ length: ranks }, (_, r) => `choice${r + 1}`).join(",");

/** In front of a worker's script: its clocks run faster, as the page's do. */
export const faster = (speed: number): string => `(() => {
  const [begun, date, tick, timeout, interval] = [performance.now(), Date.now(), performance.now.bind(performance), setTimeout, setInterval], start = Date.now();
  performance.now = () => begun + (tick() - begun) * ${speed};
  Date.now = () => Math.round(start + (tick() - begun) * ${speed});
  globalThis.setTimeout = (run, ms, ...rest) => timeout(run, (ms ?? 0) / ${speed}, ...rest);
  globalThis.setInterval = (run, ms, ...rest) => interval(run, (ms ?? 0) / ${speed}, ...rest);
})();\n`;

/** Serves the pages that were built and a recorded election, compressed as a front does. */
export class Replay {
  now = 0;
  sent = 0;
  private readonly compressed = new Map<string, Buffer>();
  private readonly watchers = new Set<http.ServerResponse>();
  private readonly recorded: Recorded;
  private readonly speed: number;
  private readonly server = http.createServer((request, response) => this.answer(request, response));

  private constructor(recorded: Recorded, speed: number) {
    [this.recorded, this.speed] = [recorded, speed];
  }

  static async open(recorded: Recorded, speed = 1): Promise<Replay> {
    const replay = new Replay(recorded, speed);
    await new Promise<void>((done) => replay.server.listen(0, "127.0.0.1", done));
    return replay;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get path(): string {
    return `/elections/${this.recorded.id}/`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** Goes on to another state, and tells all who watch. */
  show(moment: number): void {
    this.now = Math.min(moment, this.recorded.moments.length - 1);
    for (const watcher of this.watchers) watcher.write(`event: results\ndata: ${this.recorded.moments[this.now]?.results.toString()}\n\n`);
  }

  private answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const name = path.slice(this.path.length);
    if (!path.startsWith(this.path) || name.includes("..")) return void response.writeHead(404).end();
    if (name === "events") {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(": here\n\n");
      this.watchers.add(response);
      return void response.on("close", () => this.watchers.delete(response));
    }
    const moment = this.recorded.moments[this.now];
    const page = resolve("dist", name === "" ? "index.html" : name);
    const built = /^[a-z-]*(\.(js|css|txt))?$/.test(name) && existsSync(page);
    const file = join(this.recorded.files, name);
    const moving = name === "results.json" ? moment?.results : name === "heads/checkpoint" ? moment?.head : undefined;
    if (moving === undefined && !built && !existsSync(file)) return void response.writeHead(404).end();
    const type = name === "" ? "text/html" : name.endsWith(".js") ? "text/javascript" : name.endsWith(".css") ? "text/css" : name.endsWith(".json") ? "application/json" : "application/octet-stream";
    let bytes: Buffer | undefined = moving;
    if (bytes === undefined) {
      const plain = readFileSync(built ? page : file);
      bytes = name === "worker.js" && this.speed !== 1 ? Buffer.concat([Buffer.from(faster(this.speed)), plain]) : plain;
    }
    const wants = type !== "application/octet-stream";
    const key = moving === undefined ? name : `${name} ${this.now}`;
    const given = wants ? (this.compressed.get(key) ?? gzipSync(bytes)) : bytes;
    if (wants && moving === undefined) this.compressed.set(key, given);
    this.sent += given.length;
    response.writeHead(200, { "content-type": type, "content-security-policy": POLICY, "cache-control": moving === undefined ? "public, max-age=60" : "no-store", ...(wants ? { "content-encoding": "gzip" } : {}) });
    response.end(request.method === "HEAD" ? undefined : given);
  }
}
