// Real elections: `tallyroot demo` in a process of its own.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash, createPrivateKey, sign } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

export const BINARY = process.env["TALLYROOT"] ?? resolve(process.env["CARGO_TARGET_DIR"] ?? "../../target", "debug/tallyroot");
const run = promisify(execFile);

export async function tallyroot(...args: readonly string[]): Promise<string> {
  return (await run(BINARY, args)).stdout;
}

/** A folder that is gone when the tests are over. */
export function folder(): string {
  process.setMaxListeners(64);
  const made = mkdtempSync(join(tmpdir(), "tallyroot-page-"));
  process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  return made;
}

export class Election {
  readonly url: string;
  readonly data: string;
  readonly id: string;
  /** What the demo suggests to its user. */
  readonly said: string;
  private readonly process: ChildProcess;

  private constructor(process: ChildProcess, url: string, data: string, said: string) {
    this.process = process;
    this.url = url;
    this.data = data;
    this.said = said;
    this.id = readdirSync(join(data, "public/elections"))[0] ?? "";
  }

  /** Runs a demo until everybody has voted, and leaves it up. */
  static async start(data: string, ...options: readonly string[]): Promise<Election> {
    const child = spawn(BINARY, ["demo", "--data", data, "--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "pipe", "pipe"] });
    process.on("exit", () => child.kill("SIGKILL"));
    let [said, told] = ["", ""];
    child.stdout.on("data", (bytes: Buffer) => (told += bytes.toString()));
    await new Promise<void>((up, failed) => {
      child.stderr.on("data", (bytes: Buffer) => {
        said += bytes.toString();
        if (said.includes("staying up until")) up();
      });
      child.on("exit", () => failed(new Error(`the demo ended:\n${said}`)));
    });
    const url = /serving at (\S+)/.exec(said)?.[1];
    if (url === undefined) throw new Error(said);
    return new Election(child, url, data, told);
  }

  stop(): void {
    this.process.removeAllListeners("exit");
    this.process.kill("SIGKILL");
  }

  get path(): string {
    return `/elections/${this.id}/`;
  }

  /** Who answers there: one program, for all parts. */
  upstream(_path: string): string {
    return this.url;
  }

  file(name: string): Buffer {
    return readFileSync(join(this.data, "public/elections", this.id, name));
  }

  /** One of the demo's guests votes, with the voter's client. */
  async vote(guest: number): Promise<void> {
    const command = [...this.said.matchAll(/--code (\S+)/g)][guest]?.[1];
    if (command === undefined) throw new Error(this.said);
    const own = join(this.data, `guest-${guest}`);
    await tallyroot("vote", this.url, "--election", this.id, "--code", command, "--secret", `${own}-secret.json`, "--receipt", `${own}-receipt.json`, "--choose", "Mayor=Ada Lovelace");
  }

  /** Ends voting: the results become final by themselves. */
  async close(): Promise<void> {
    await tallyroot("election", "close", "--election", this.id, "--key", join(this.data, "authority/main.key"), this.url);
  }

  /** A checkpoint by a log's own key, over whatever a thief of it likes. */
  checkpoint(prefix: string, size: number, root: Buffer, key: "main" | "spare" = "main"): string {
    const manifest = JSON.parse(this.file("manifest.json").toString()) as { base: string };
    const origin = `${manifest.base}/elections/${this.id}/${prefix}`;
    const body = `${origin}\n${size}\n${root.toString("base64")}\n`;
    return `${body}\n${signature(this, prefix, origin, body, key)}`;
  }
}

function signature(election: Election, prefix: string, origin: string, body: string, key: "main" | "spare"): string {
  const seed = Buffer.from(readFileSync(join(election.data, prefix, `${key}.key`), "utf8").trim(), "hex");
  return signedLine(origin, body, seed);
}

/** A signature line by an Ed25519 seed. */
export function signedLine(origin: string, body: string, seed: Buffer): string {
  const secret = createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]), format: "der", type: "pkcs8" });
  const publicKey = Buffer.from((secret.export({ format: "jwk" }) as { x: string }).x, "base64url");
  const id = sha256(Buffer.concat([Buffer.from(origin), Buffer.from([10, 1]), publicKey])).subarray(0, 4);
  return `\u2014 ${origin} ${Buffer.concat([id, sign(null, Buffer.from(body), secret)]).toString("base64")}\n`;
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
