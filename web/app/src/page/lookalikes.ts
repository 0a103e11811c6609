// Options whose names a reader could take for each other: equal but for case, accents and letters of other scripts that look the same.
const TWINS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ["а", "a"], ["е", "e"], ["о", "o"], ["р", "p"], ["с", "c"], ["х", "x"], ["у", "y"], ["і", "i"], ["ј", "j"], ["ѕ", "s"], ["к", "k"], ["м", "m"], ["т", "t"], ["н", "h"], ["в", "b"],
    ["α", "a"], ["ο", "o"], ["ρ", "p"], ["ν", "v"], ["ι", "i"], ["κ", "k"], ["τ", "t"], ["υ", "u"], ["χ", "x"], ["ε", "e"], ["β", "b"], ["η", "n"], ["μ", "u"],
    ["ı", "i"], ["l", "i"], ["1", "i"], ["|", "i"], ["0", "o"], ["’", "'"], ["‘", "'"], ["‐", "-"], ["‑", "-"], ["–", "-"], ["—", "-"],
  ].map(([from = "", to = ""]) => [from, to]),
);

function skeleton(label: string): string {
  const folded = label.normalize("NFKD").toLowerCase().replace(/\p{M}|\u200c|\u200d/gu, "").replace(/\s+/g, " ");
  return [...folded].map((char) => TWINS[char] ?? char).join("");
}

/** Groups of options, by their places from 0, that look alike. */
export function lookalikes(options: readonly string[]): number[][] {
  const groups = new Map<string, number[]>();
  options.forEach((option, i) => {
    const key = skeleton(option);
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  return [...groups.values()].filter((group) => group.length > 1);
}
