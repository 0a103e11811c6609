// A real election as it was published at one moment, and always the same: what pictures are taken of.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { folder } from "./election.js";

const RECORDED = resolve("test/recorded");
const TYPES: Record<string, string> = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", txt: "text/plain; charset=utf-8", json: "application/json" };
/** The policy that the tally serves its pages with. */
const POLICY = /^const POLICY: &str = "(.*)";$/m.exec(readFileSync(resolve("../../tally/src/web/page.rs"), "utf8"))?.[1] ?? "";

export type State = "open" | "final" | "cancelled";
/** A few seconds behind the last file of each. */
export const NOW: Record<State, number> = { open: Date.UTC(2026, 10, 23, 15, 47, 55), final: Date.UTC(2026, 10, 23, 15, 48, 3), cancelled: Date.UTC(2026, 10, 23, 15, 48, 14) };

export const recorded = (name: string): string => readFileSync(join(RECORDED, name), "utf8");

/** In front of each worker's script: a clock that stands still, and always the same piece to recount. No secret is made by the workers that get it. */
const still = (now: number): string => `Date.now = () => ${now}; performance.now = () => 0; crypto.getRandomValues = (array) => array.fill(0x51ed270b);\n`;

/** Serves the pages as they were built, and the files of a recorded election; nothing ever changes. */
export class Recording {
  readonly id: string;
  /** What a dishonest server shows in place of a file; null: nothing. */
  tamper: (path: string, bytes: Buffer) => Buffer | string | null = (_, bytes) => bytes;
  /** Answers nothing at all. */
  silent = false;
  state: State = "open";
  private readonly files: string;
  private readonly server = http.createServer((request, response) => this.answer(request, response));

  private constructor() {
    this.files = folder();
    // Its three states share most files: a window that sees all of them makes one of each.
    execFileSync("tar", ["-xf", "-", "-C", this.files], { input: brotliDecompressSync(readFileSync(join(RECORDED, "states.tar.br"))) });
    this.id = (JSON.parse(recorded("receipt.json")) as { election: string }).election;
  }

  static async open(): Promise<Recording> {
    const made = new Recording();
    await new Promise<void>((done) => made.server.listen(0, "127.0.0.1", done));
    return made;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get path(): string {
    return `/elections/${this.id}/`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const path = (request.url ?? "").split("?")[0] ?? "";
    if (this.silent || !path.startsWith(this.path)) return void (this.silent || response.writeHead(404).end());
    const name = path.slice(this.path.length);
    if (name === "events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      return void response.write(": here\n\n");
    }
    const page = join(resolve("dist"), name === "" ? "index.html" : /^(vote|receipt|audit)$/.test(name) ? `${name}.html` : name);
    const file = join(this.files, this.state, name);
    const found = /^[a-z-]*(\.(js|css|txt))?$/.test(name) && existsSync(page) ? page : file;
    const type = TYPES[found.split(".").at(-1) ?? ""] ?? "application/octet-stream";
    const bytes = name.includes("..") || !existsSync(found) ? null : readFileSync(found);
    const given = bytes === null || found !== file ? bytes : this.tamper(name, bytes);
    if (given === null) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": type, "content-security-policy": POLICY, "cache-control": "no-store" });
    response.end(request.method === "HEAD" ? undefined : /^(receipt-)?worker\.js$/.test(name) ? still(NOW[this.state]) + given.toString() : given);
  }
}
