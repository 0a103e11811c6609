// An election whose services are processes of their own, with a registrar that also knows voters by their accounts at a real OpenID provider.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BINARY } from "./election.js";
import type { Site } from "./stage.js";

/** The services take settings from the environment too. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TALLYROOT")));

function started(command: string, args: readonly string[], cwd: string): ChildProcess {
  const child = spawn(command, args, { cwd, stdio: ["pipe", "pipe", "pipe"], env });
  process.on("exit", () => child.kill("SIGKILL"));
  return child;
}

/** What a process says, until one line holds this. */
function said(child: ChildProcess, where: "stdout" | "stderr", wanted: RegExp): Promise<string> {
  return new Promise((found, failed) => {
    let all = "";
    const stream = child[where];
    if (stream === null) return failed(new Error("no output"));
    createInterface({ input: stream }).on("line", (line) => {
      all += `${line}\n`;
      const match = wanted.exec(all);
      if (match !== null) found(match[1] ?? line);
    });
    child.on("exit", () => failed(new Error(`it ended:\n${all}`)));
  });
}

export class Services implements Site {
  readonly id: string;
  readonly issuer: string;
  private readonly data: string;
  private readonly urls: ReadonlyMap<string, string>;
  private readonly processes: readonly ChildProcess[];

  private constructor(data: string, issuer: string, urls: ReadonlyMap<string, string>, processes: readonly ChildProcess[]) {
    [this.data, this.issuer, this.urls, this.processes] = [data, issuer, urls, processes];
    this.id = idOf(data);
  }

  /** Starts the services of the election in this folder, of one cell and one registrar. */
  static async start(data: string): Promise<Services> {
    const id = idOf(data);
    const folder = resolve("../../tests/oidc");
    const provider = started("node", ["provider.mjs", JSON.stringify({ port: 0, keys: [{ alg: "RS256", kid: "one", use: "sig" }], clients: ["tallyroot"], redirects: [`http://localhost/elections/${id}/vote`] })], folder);
    const issuer = await said(provider, "stdout", /"issuer":"([^"]+)"/);
    const common = `manifest = "${join(data, "public/elections", id, "manifest.json")}"\nelection = "${id}"\nlisten = "127.0.0.1:0"\nhealth_listen = 0\n`;
    const published = `\n[published]\ndirectory = "${join(data, "public")}"\n`;
    const log = '\n[key]\nmain = "main.key"\nspare = "spare.key"\n\n[database]\nsqlite = "log.sqlite"\n';
    const configurations = [
      ["cell", "cells/0", `cell = 0\n${published}${log}`],
      ["registrar", "registrars/0", `registrar = 0\nrsa_key = "rsa.pem"\ncode_key = "code.key"\nroll_backup = "registrar.sqlite"\n${published}\n[[shards]]\nmain = "0/main.key"\nspare = "0/spare.key"\nsqlite = "0/log.sqlite"\n
[oidc]\nissuer = "${issuer}"\nclient_id = "tallyroot"\nclaim = "name"\nscope = "openid profile"\nallow_http_loopback = true\n`],
      ["anchor", "heads", `${published}${log}\n[[anchors]]\nname = "local"\n`],
      ["tally", "", `sign_in_at = ["${issuer}"]\n${published}serve = true\n`],
    ] as const;
    const processes = [provider];
    try {
      const urls = await Promise.all(configurations.map(async ([role, place, rest]) => {
        const file = join(data, place, `${role}.toml`);
        writeFileSync(file, common + rest);
        const child = started(BINARY, ["serve", role, "--config", file], data);
        processes.push(child);
        return [place, await said(child, "stderr", /: at (http:\/\/[^,\s]+), health at [^]*active/)] as const;
      }));
      return new Services(data, issuer, new Map(urls), processes);
    } catch (error) {
      for (const child of processes) child.kill("SIGKILL");
      throw error;
    }
  }

  get path(): string {
    return `/elections/${this.id}/`;
  }

  upstream(path: string): string {
    const place = /^(cells|registrars)\/\d+(?=\/(ballots|credentials|sign-in)$)/.exec(path.slice(this.path.length))?.[0] ?? "";
    return this.urls.get(place) ?? "";
  }

  file(name: string): Buffer {
    return readFileSync(join(this.data, "public/elections", this.id, name));
  }

  stop(): void {
    for (const child of this.processes) child.kill("SIGKILL");
  }
}

function idOf(data: string): string {
  return readdirSync(join(data, "public/elections"))[0] ?? "";
}
