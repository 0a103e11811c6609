import type { CheckState } from "../messages.js";

/** What was compared last is a moment behind what an election shows by now: so long, that is no news. */
const GRACE_MS = 25_000;
/** Behind for so long, nothing is waited for any more: no delay of an honest copy takes longer. */
export const LAG_MAX_MS = 60_000;

/** Whether something that must hold again after every change does. */
export class Standing {
  private held = false;
  private since: number | undefined;

  hold(): void {
    this.held = true;
    this.since = undefined;
  }

  /** It has not been seen to hold since then. */
  miss(since: number): void {
    this.since ??= since;
  }

  /** Since when it does not hold, where that has lasted for longer than any delay explains. */
  lateSince(now: number, limit: number): number | undefined {
    return this.since !== undefined && now - this.since > limit ? this.since : undefined;
  }

  /** `turn`: how long it may take until its turn comes to be compared again. */
  state(now: number, turn = 0): CheckState {
    if (this.since === undefined) return this.held ? "verified" : "waiting";
    if (now - this.since > LAG_MAX_MS + turn) return "unchecked";
    return this.held && now - this.since <= GRACE_MS + turn ? "verified" : "waiting";
  }
}

/** Of several that must all hold. */
export function worst(states: readonly CheckState[]): CheckState {
  return states.includes("unchecked") ? "unchecked" : states.includes("waiting") ? "waiting" : "verified";
}
