// The worker behind the voting page: everything that is secret, and every request, stays here.
import { VerifierError } from "../../../../verifier/src/index.js";
import { canVerify } from "../../worker/judge.js";
import { Source, Unreachable } from "../../worker/source.js";
import type { Step, ToVoter, VotingState } from "../messages.js";
import { Course } from "./course.js";
import { Storage } from "./kept.js";

const MANIFEST_MAX = 1 << 20;
const POLL_MS = 5_000;

const tell = (state: VotingState): void => postMessage(state);
const empty = (step: Step, problem?: VotingState["problem"]): void =>
  tell({ kind: "state", step, election: undefined, signed: 0, onRoll: [], busy: false, problem, castFrom: undefined, choices: undefined, sent: false, receipt: undefined, leave: undefined });

let course: Course | undefined;

async function open(base: string, id: string, back: string | undefined): Promise<void> {
  if (!(await canVerify())) return empty("incapable");
  // Two windows must not use one secret at once.
  const locks = (navigator as { locks?: LockManager }).locks;
  if (locks === undefined) return run(base, id, back);
  let mine = false;
  setTimeout(() => mine || empty("otherWindow"), 500);
  const held = locks.request(`tallyroot-vote-${id}`, async () => {
    mine = true;
    await run(base, id, back);
    // Held until this window is gone.
    await new Promise(() => undefined);
  });
  await held.catch((error: unknown) => {
    mine = true;
    empty("stopped", { id: "noStorage", detail: String(error) });
  });
}

async function run(base: string, id: string, back: string | undefined): Promise<void> {
  const source = new Source(base);
  const storage = await Storage.open(id).catch(() => undefined);
  if (storage === undefined) return empty("stopped", { id: "noStorage", detail: "" });
  for (;;) {
    try {
      course = await Course.open(source, await source.need("manifest.json", MANIFEST_MAX), id, storage, tell, back);
      return;
    } catch (error) {
      if (error instanceof VerifierError) return empty("stopped", { id: "rules", detail: `${error.code}: ${error.message}` });
      if (!(error instanceof Unreachable)) return empty("stopped", { id: "noStorage", detail: String(error) });
      empty("unreachable");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

addEventListener("message", ({ data }: MessageEvent<ToVoter>) => {
  switch (data.kind) {
    case "open": return void open(data.base, data.id, data.back);
    case "account": return void course?.leaveFor(data.registrar);
    case "sign-in": return void course?.signIn(data.codes);
    case "cast": return void course?.decide(data.choices);
    case "change": return void course?.change();
    case "again": return course?.again();
    case "forget": return void course?.forget().then(() => postMessage({ kind: "forgotten" }));
  }
});
