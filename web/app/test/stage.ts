// The server between a page and an election: honest, or not.
import { existsSync, readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** What stands behind it. */
export interface Site { readonly path: string; upstream(path: string): string }

/** What becomes of a file: other bytes, or null for none. */
export type Tamper = (path: string, bytes: Buffer) => Buffer | string | null;

/** Where a page may ask. */
const REACH = /connect-src [^;]*/;

export class Stage {
  url = "";
  tamper: Tamper = (_, bytes) => bytes;
  /** How long an answer is held back (ms), or until when. */
  late: (path: string) => number | Promise<void> = () => 0;
  /** `real`: the election's own stream; `own`: what the test pushes; `off`: none. */
  events: "real" | "own" | "off" = "off";
  /** Answers nothing any more: it hangs up, or keeps silent. */
  down: boolean | "silent" = false;
  /** What becomes of a request that changes something: the connection is cut before it arrives, or behind it, or something else answers; `pass` by itself. */
  cutPost: (path: string) => "pass" | "before" | "behind" = () => "pass";
  /** What becomes of an answer to one. */
  answerPost: (path: string, status: number, bytes: Buffer) => { status: number; body: string; headers?: Record<string, string> } | undefined = () => undefined;
  readonly asked: string[] = [];
  /** As if the tally were told of no provider. */
  alone = false;
  private readonly election: Site;
  private readonly watchers = new Set<http.ServerResponse>();
  private readonly server: http.Server;

  private constructor(election: Site) {
    this.election = election;
    this.server = http.createServer((request, response) => void this.answer(request, response));
  }

  static async open(election: Site): Promise<Stage> {
    const stage = new Stage(election);
    await new Promise<void>((done) => stage.server.listen(0, "127.0.0.1", done));
    stage.url = `http://localhost:${(stage.server.address() as AddressInfo).port}`;
    return stage;
  }

  close(): void {
    this.server.close();
    this.cut();
  }

  /** The page's address. */
  get page(): string {
    return `${this.url}${this.election.path}`;
  }

  /** Ends all connections. */
  cut(): void {
    this.server.closeAllConnections();
  }

  /** Gives everybody who watches these results. */
  push(results: Buffer | string): void {
    for (const watcher of this.watchers) watcher.write(`event: results\ndata: ${results.toString()}\n\n`);
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?")[0] ?? "";
    this.asked.push(path);
    if (this.down === "silent") return;
    if (this.down) return void request.destroy();
    const name = path.startsWith(this.election.path) ? path.slice(this.election.path.length) : undefined;
    const cut = request.method === "POST" ? this.cutPost(name ?? "") : "pass";
    if (cut === "before") return void request.destroy();
    if (name === "events" && this.events === "off") return void response.writeHead(503).end();
    if (name === "events" && this.events === "own") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(": here\n\n");
      this.watchers.add(response);
      response.on("close", () => this.watchers.delete(response));
      return;
    }
    const upstream = http.request(this.election.upstream(path) + (request.url ?? ""), { method: request.method, headers: { ...request.headers, "accept-encoding": "identity" } }, (answer) => {
      if (name === "events") {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
        return;
      }
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("end", () => (cut === "behind" ? response.destroy() : void this.held(name ?? "").then(() => this.give(request, response, name, answer, Buffer.concat(parts)))));
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  }

  private async held(name: string): Promise<void> {
    const late = this.late(name);
    await (typeof late === "number" ? new Promise((resolve) => setTimeout(resolve, late)) : late);
  }

  private policy({ headers }: http.IncomingMessage): string {
    const policy = String(headers["content-security-policy"] ?? "");
    return this.alone ? policy.replace(REACH, "connect-src 'self'") : policy;
  }

  private give(request: http.IncomingMessage, response: http.ServerResponse, name: string | undefined, answer: http.IncomingMessage, bytes: Buffer): void {
    // While the pages are written: those that were built last, whatever is in the program.
    const built = name !== undefined && process.env["TALLYROOT_PAGES"] !== undefined ? join(process.env["TALLYROOT_PAGES"], name === "" ? "index.html" : /^(vote|receipt|audit)$/.test(name) ? `${name}.html` : name) : "";
    if (/^[a-z-]*(\.(js|css|txt))?$/.test(name ?? "/") && existsSync(built)) {
      const type = { js: "text/javascript", css: "text/css", txt: "text/plain", html: "text/html" }[built.split(".").at(-1) ?? ""] ?? "text/plain";
      response.writeHead(200, { "content-type": `${type}; charset=utf-8`, "content-security-policy": (process.env["TALLYROOT_POLICY"] ?? "").replace(REACH, REACH.exec(this.policy(answer))?.[0] ?? "connect-src 'self'") });
      return void response.end(readFileSync(built));
    }
    const other = request.method === "POST" ? this.answerPost(name ?? "", answer.statusCode ?? 500, bytes) : undefined;
    if (other !== undefined) return void response.writeHead(other.status, { "content-type": "application/json", ...other.headers }).end(other.body);
    const changed = answer.statusCode === 200 && name !== undefined && request.method === "GET" ? this.tamper(name, bytes) : bytes;
    if (changed === null) return void response.writeHead(404).end();
    const headers = { ...answer.headers };
    // A tampered file must not be taken for the cached one.
    for (const header of ["content-length", "etag", "last-modified", "transfer-encoding", "connection"]) delete headers[header];
    if (headers["content-security-policy"] !== undefined) headers["content-security-policy"] = this.policy(answer);
    if (request.method === "HEAD") headers["content-length"] = answer.headers["content-length"] ?? "0";
    response.writeHead(answer.statusCode ?? 500, headers);
    response.end(request.method === "HEAD" ? undefined : changed);
  }
}
