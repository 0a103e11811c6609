import { type Bytes, Reader } from "./bytes.js";
import { fail } from "./error.js";
import type { Contest } from "./manifest.js";

/** The option indices that a ballot chooses, for each contest; ranked ones in the voter's order. */
export type Choices = readonly (readonly number[])[];

/** Reads a ballot, from where the reader stands. */
export function readBallot(reader: Reader, contests: readonly Contest[]): Choices {
  return contests.map(({ method, options }) => {
    const count = reader.u16();
    if (count > (method === "plurality" ? 1 : options.length)) fail("ballot", "more options than the contest allows");
    const chosen = Array.from({ length: count }, () => reader.u16());
    if (chosen.some((option) => option >= options.length)) fail("ballot", "an option that the contest does not have");
    if (method === "approval" && chosen.some((option, i) => i > 0 && option <= (chosen[i - 1] ?? 0))) fail("ballot", "options not in order");
    if (new Set(chosen).size !== count) fail("ballot", "an option twice");
    return chosen;
  });
}

/** Reads a ballot that stands alone. */
export function parseBallot(bytes: Bytes, contests: readonly Contest[]): Choices {
  const reader = new Reader(bytes, "ballot");
  const choices = readBallot(reader, contests);
  reader.end();
  return choices;
}

/** Whether the ballot is blank in every contest. It is a vote all the same. */
export function isAbstention(choices: Choices): boolean {
  return choices.every((chosen) => chosen.length === 0);
}
