// A voter's course, from codes to a sealed receipt. Each step is on the disk before the next one begins; each can be done again.
import { type Bytes, type Manifest, cellOf, fromBase64, fromUtf8, openManifest, sha256, toBase64, toHex, utf8, verifyReceipt } from "../../../../verifier/src/index.js";
import { type Source, Unreachable } from "../../worker/source.js";
import type { Choices, ElectionView, Leave, Problem, ProblemId, ReceiptView, Step, VotingState } from "../messages.js";
import { Untrue, checkIssued, checkRecorded, untrueAs } from "./answers.js";
import { normalize } from "./code.js";
import { Device } from "./device.js";
import type { Kept, Storage } from "./kept.js";
import { SignInError, codeOf, nonceOf, prepare, redeem } from "./provider.js";
import { type Rules, recordedReceipt, sealedReceipt, viewOf } from "./receipts.js";
import { type Answer, pause, post } from "./site.js";

/** "clients wait a random time up to this from issuance to cast, and end the wait at least 120 s before closing" */
const BEFORE_CLOSING_MS = 120_000;
const SEAL_PAUSE_MS = 2_000;
const SEAL_PAUSE_MAX_MS = 60_000;
/** After so many quick looks, a sealed receipt is looked for slowly; a sealed one, for the final head. */
const QUICK_LOOKS = 60;
/** Timers stand still while a device sleeps, so the clock is looked at again. */
const LOOK_AT_CLOCK_MS = 5_000;
/** Between two tries where the cell says that voting has not begun: this device's clock is ahead of its. */
const NOT_OPEN_PAUSE_MS = 5_000;

const PROBLEMS: Readonly<Record<string, ProblemId>> = { "unknown-code": "unknownCode", "not-on-roll": "notOnRoll", "bad-token": "notSignedIn", "other-message": "otherDevice", "not-open": "notOpen", closed: "closed" };

const fromBase64url = (text: string): Bytes => fromBase64(text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "="));

class Stopped extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** Whether two entries are the same but for the ballot's signature, which stands last: some devices sign at random. */
function sameBallot(ours: Bytes, theirs: string): boolean {
  const [one, two] = [toBase64(ours.subarray(0, -64)), fromBase64url(theirs)];
  return one === toBase64(two.subarray(0, -64));
}

export class Course {
  private readonly source: Source;
  private readonly rules: Rules;
  private readonly storage: Storage;
  private readonly tell: (state: VotingState) => void;
  private kept: Kept;
  private device: Device;
  private busy = false;
  private problem: Problem | undefined;
  private casting = false;
  private receipt: ReceiptView | undefined;
  /** A wait that ends when the voter changes her mind. */
  private wake: () => void = () => undefined;

  static async open(source: Source, manifestBytes: Bytes, id: string, storage: Storage, tell: (state: VotingState) => void, back?: string): Promise<Course> {
    const manifest = await openManifest(manifestBytes, id);
    const stored = await storage.read();
    const kept: Kept = stored ?? { secret: crypto.getRandomValues(new Uint8Array(32)), signatures: [], marks: [] };
    // Before anything is asked for.
    if (stored === undefined) await storage.write(kept);
    const rules = { manifest, text: fromUtf8(manifestBytes), id };
    const course = new Course(source, rules, storage, tell, kept, await Device.open(kept.secret, manifest.election));
    await course.recall();
    if (back !== undefined && course.step() === "signIn") void course.comeBack(back);
    return course;
  }

  private constructor(source: Source, rules: Rules, storage: Storage, tell: (state: VotingState) => void, kept: Kept, device: Device) {
    [this.source, this.rules, this.storage, this.tell, this.kept, this.device] = [source, rules, storage, tell, kept, device];
  }

  private get manifest(): Manifest {
    return this.rules.manifest;
  }

  private async recall(): Promise<void> {
    const { receipt } = this.kept;
    if (receipt !== undefined) this.receipt = viewOf(await verifyReceipt(utf8(receipt), this.rules.id), receipt);
    if (this.receipt !== undefined && this.kept.entry !== undefined && !sameBallot(this.kept.entry, this.receipt.entry)) this.problem = { id: "firstVote", detail: "" };
    this.say();
    if (this.receipt !== undefined) void this.seal();
    else if (this.kept.entry !== undefined) void this.cast();
  }

  private forgotten = false;

  /** Nothing is written down any more once it was deleted. */
  private async write(kept: Kept): Promise<void> {
    if (!this.forgotten) await this.storage.write(kept);
  }

  private async keep(change: Partial<Kept>): Promise<void> {
    const kept = { ...this.kept, ...change };
    await this.write(kept);
    this.kept = kept;
  }

  /** What is left of the vote is deleted from this device. */
  async forget(): Promise<void> {
    if (this.receipt === undefined && (this.kept.marks.length > 0 || this.kept.entry !== undefined)) return;
    this.forgotten = true;
    await this.storage.write(undefined);
  }

  async signIn(codes: readonly string[]): Promise<void> {
    if (this.busy) return;
    await this.attempt(async () => {
      for (let r = this.kept.signatures.length; r < this.manifest.registrars.length; r++) {
        await this.signInAt(r, codes[r] ?? "");
        this.say();
      }
    });
  }

  private async signInAt(registrar: number, typed: string): Promise<void> {
    const code = normalize(typed);
    if (code === undefined) throw new Stopped({ id: "badCode", detail: "", registrar });
    await this.issueAt(registrar, code, { code });
  }

  private leave: Leave | undefined;

  /** The voter wants to sign in with an account: where this registrar sends her to. */
  async leaveFor(registrar: number): Promise<void> {
    const key = this.manifest.registrars[registrar]?.rsa;
    if (this.busy || key === undefined || registrar !== this.kept.signatures.length) return;
    this.leave = undefined;
    await this.attempt(async () => {
      const digest = await sha256((await this.device.blind(registrar, key)).message);
      const answer = await this.until(() => post(`${this.source.base}registrars/${registrar}/sign-in`, { digest: toBase64(digest) }, true));
      if (answer.kind === "refused") throw new Stopped({ id: answer.code === "not-found" ? "noAccounts" : "refused", detail: `${answer.code}: ${answer.message}`, registrar });
      const nonce = await nonceOf(this.manifest.election, registrar, digest, String(answer.body["ticket"]));
      const { page, pending } = await prepare(answer.body, registrar, nonce, `${this.source.base}vote`);
      await this.keep({ pending });
      this.leave = { registrar, host: new URL(page).host, page };
    });
  }

  /** She is back. What was kept of her sign-in is deleted before it is used: what breaks off now is begun anew, and gets the same credential. */
  private async comeBack(back: string): Promise<void> {
    await this.attempt(async () => {
      const code = codeOf(back, this.kept.pending);
      const { pending, ...rest } = this.kept;
      await this.write(rest);
      this.kept = rest;
      if (pending === undefined || pending.registrar !== rest.signatures.length) return;
      const { token, account } = await redeem(code, pending);
      await this.issueAt(pending.registrar, account, { id_token: token, ticket: pending.ticket });
    });
  }

  /** Asks a registrar for its signature; `whose` tells a voter's code or account from others. */
  private async issueAt(registrar: number, whose: string, shown: Readonly<Record<string, string>>): Promise<void> {
    const key = this.manifest.registrars[registrar]?.rsa;
    if (key === undefined) return;
    // Whose credential this is was settled by the first code that was sent: another one is another voter's.
    const mark = toHex(await sha256(utf8("tallyroot vote: the code of this secret\0"), this.kept.secret, utf8(whose)));
    if ((this.kept.marks[registrar] ?? mark) !== mark) throw new Stopped({ id: "otherCode", detail: "", registrar });
    await this.keep({ marks: [...this.kept.marks.slice(0, registrar), mark] });
    const blinded = await this.device.blind(registrar, key);
    const answer = await this.until(() => post(`${this.source.base}registrars/${registrar}/credentials`, { blinded: toBase64(blinded.message), ...shown }));
    if (answer.kind === "refused") {
      // Nothing was issued for this one, so another one may be tried.
      await this.keep({ marks: this.kept.marks.slice(0, registrar) });
      throw new Stopped({ id: PROBLEMS[answer.code] ?? "refused", detail: `${answer.code}: ${answer.message}`, registrar });
    }
    await this.believed(answer.text, registrar, async () => {
      const { blind, onRoll } = await checkIssued(this.source, this.manifest, registrar, blinded.message, answer.body);
      const signature = await this.device.finalize(blinded, blind, key);
      if (signature === undefined) throw new Untrue("registrarSignature", "the registrar did not sign what was sent");
      const signatures = [...this.kept.signatures, signature];
      const whole = signatures.length === this.manifest.registrars.length;
      this.leave = undefined;
      await this.keep({ signatures, onRoll: [...(this.kept.onRoll ?? []), onRoll], ...(whole ? { castFrom: this.drawCastFrom() } : {}) });
    });
  }

  private drawCastFrom(): number {
    const { castDelayS, times } = this.manifest;
    const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
    // Within the time that there is: moments that are cut off at opening or before closing would all be the same one.
    const from = Math.max(Date.now(), times.opening);
    const span = Math.max(Math.min(1_000 * castDelayS, times.closing - BEFORE_CLOSING_MS - from), 0);
    return from + Math.floor(((high * 2 ** 20 + (low >>> 12)) / 2 ** 52) * (span + 1));
  }

  /** The voter has decided: from here on the vote is made, and cast when its time comes. */
  async decide(choices: Choices): Promise<void> {
    if (this.busy || this.kept.sent === true || this.kept.signatures.length < this.manifest.registrars.length) return;
    await this.attempt(async () => {
      const entry = await this.device.vote(this.manifest, this.kept.signatures, choices);
      await this.keep({ choices, entry });
    });
    if (this.kept.entry !== undefined && this.problem === undefined) void this.cast();
  }

  /** Back to the ballot, as long as nothing was sent. */
  async change(): Promise<void> {
    if (this.kept.sent === true || this.casting) return;
    const { entry: _, ...rest } = this.kept;
    await this.write(rest);
    this.kept = rest;
    this.problem = undefined;
    this.wake();
    this.say();
  }

  /** Tries again what was stopped. */
  again(): void {
    if (this.kept.entry !== undefined && this.receipt === undefined) void this.cast();
    else this.say();
  }

  private running = false;

  private async cast(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      await this.waitForItsTime();
      if (this.kept.entry === undefined) return;
      await this.attempt(() => this.castNow(this.kept.entry ?? new Uint8Array(0)));
    } finally {
      this.running = false;
      this.casting = false;
      this.say();
    }
    if (this.receipt !== undefined) void this.seal();
  }

  private async waitForItsTime(): Promise<void> {
    for (let looks = 0; ; looks++) {
      const left = (this.kept.castFrom ?? 0) - Date.now();
      if (left <= 0 || this.kept.entry === undefined) return;
      if (looks === 0) this.say();
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, Math.min(left, LOOK_AT_CLOCK_MS));
      });
    }
  }

  private async castNow(entry: Bytes): Promise<void> {
    this.casting = true;
    await this.keep({ sent: true });
    this.say();
    const cell = await cellOf(this.device.credential, this.manifest);
    const send = (): Promise<Exclude<Answer, { kind: "unknown" }>> => this.until(() => post(`${this.source.base}cells/${cell}/ballots`, { vote: toBase64(entry) }));
    let answer = await send();
    while (answer.kind === "refused" && answer.code === "not-open") {
      this.problem = { id: "notOpen", detail: answer.message };
      this.say();
      await pause(0, NOT_OPEN_PAUSE_MS);
      answer = await send();
    }
    const first = answer.kind === "refused" && answer.code === "other-ballot";
    if (answer.kind === "refused" && !first) throw new Stopped({ id: PROBLEMS[answer.code] ?? "refused", detail: `${answer.code}: ${answer.message}` });
    await this.believed(answer.text, undefined, async () => {
      const proof = await checkRecorded(this.source, this.manifest, cell, entry, answer.body, !first);
      const receipt = await untrueAs("notProven", () => recordedReceipt(this.source, this.rules, cell, proof));
      const view = viewOf(await verifyReceipt(utf8(receipt), this.rules.id), receipt);
      // What told codes apart, who it was, and when it was cast, is of no more use.
      const { castFrom: _, onRoll: __, pending: ___, ...rest } = this.kept;
      const kept: Kept = { ...rest, marks: [], receipt };
      // It is recorded, whether this device can write that down or not: the page shows the receipt, and a reload would cast the same bytes again.
      this.receipt = view;
      this.kept = kept;
      await this.write(kept).catch(() => undefined);
    });
    if (first) throw new Stopped({ id: "firstVote", detail: "" });
  }

  private sealing = false;

  /** Looks for the head that seals, and later for the final one. */
  private async seal(): Promise<void> {
    if (this.sealing) return;
    this.sealing = true;
    for (let look = 0; this.receipt !== undefined && this.receipt.standing !== "final"; look++) {
      const { receipt } = this;
      try {
        const known = await verifyReceipt(utf8(receipt.text), this.rules.id);
        const text = await sealedReceipt(this.source, this.rules, known, receipt.text);
        const view = text === undefined ? undefined : viewOf(await verifyReceipt(utf8(text), this.rules.id), text);
        if (view !== undefined && (receipt.standing === "recorded" || view.standing === "final")) {
          await this.keep({ receipt: view.text });
          this.receipt = view;
          this.say();
        }
      } catch {
        // Not yet, or not now. What contradicts the receipt is for the receipt's page to judge, with both sides before it.
      }
      const quick = look < QUICK_LOOKS && this.receipt.standing === "recorded";
      await new Promise((resolve) => setTimeout(resolve, quick ? SEAL_PAUSE_MS : SEAL_PAUSE_MAX_MS));
    }
    this.sealing = false;
  }

  /** Asks until somebody answers. */
  private async until(ask: () => Promise<Answer>): Promise<Exclude<Answer, { kind: "unknown" }>> {
    for (let tries = 0; ; tries++) {
      const answer = await ask();
      if (answer.kind !== "unknown") {
        this.problem = undefined;
        return answer;
      }
      this.problem = { id: answer.busy ? "busy" : "noAnswer", detail: answer.why };
      this.say();
      await pause(tries, answer.afterMs);
    }
  }

  private async believed(evidence: string, registrar: number | undefined, check: () => Promise<void>): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await check();
      } catch (error) {
        if (error instanceof Untrue) throw new Stopped({ id: error.id, detail: error.message, evidence, ...(registrar === undefined ? {} : { registrar }) });
        // The notices could not be read: the answer is kept until they can.
        if (!(error instanceof Unreachable)) throw error;
        this.problem = { id: "noAnswer", detail: error.message };
        this.say();
        await pause(tries);
      }
    }
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.problem = undefined;
    this.say();
    try {
      await action();
    } catch (error) {
      this.problem = error instanceof Stopped ? error.problem : error instanceof SignInError ? { id: error.id, detail: error.message } : { id: error instanceof DOMException ? "noStorage" : "refused", detail: String(error) };
    }
    this.busy = false;
    this.say();
  }

  private step(): Step {
    const { kept } = this;
    if (this.receipt !== undefined) return "recorded";
    if (kept.signatures.length < this.manifest.registrars.length) return "signIn";
    if (kept.entry === undefined) return "ballot";
    if (this.casting) return "casting";
    return this.problem === undefined ? "waiting" : "stopped";
  }

  say(): void {
    const { kept } = this;
    this.tell({
      kind: "state", step: this.step(), election: electionView(this.rules), signed: kept.signatures.length, onRoll: kept.onRoll ?? [], busy: this.busy, problem: this.problem, castFrom: kept.castFrom,
      choices: kept.choices, sent: kept.sent === true, receipt: this.receipt, leave: this.leave,
    });
  }
}

export function electionView({ manifest, id }: Rules): ElectionView {
  const { title, demo, times, contests, registrars, castDelayS } = manifest;
  return {
    id, title, demo, opening: times.opening, closing: times.closing, contests: contests.map(({ name, options, method }) => ({ name, options, method })),
    registrars: registrars.map(({ name }) => name), delay: castDelayS,
  };
}
