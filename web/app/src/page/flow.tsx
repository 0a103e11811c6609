import type { ContestRules, RoundView } from "../messages.js";
import { Label, useSpeech } from "./parts.js";

/** The picture has room for so many rounds and so many options: the last ones. The table has all. */
const ROUNDS = 8;
const [WIDTH, HEIGHT, BAR, LABELS, GAP] = [720, 320, 12, 150, 4];

interface Node { readonly option: number; readonly count: number; readonly top: number; readonly height: number }

/** Where ballots went, round by round: each option's count is a bar; ribbons are ballots that stay, or go on when their option is out. */
export function Flow({ rules, rounds: all }: { rules: ContestRules; rounds: readonly RoundView[] }) {
  const speech = useSpeech();
  const rounds = all.slice(-ROUNDS);
  const place = new Map<number, number>();
  // The last to remain stand on top; ties as on the ballot.
  const lasts = (option: number): number => rounds.filter(({ counts }) => counts[option] !== undefined).length;
  const last = rounds.at(-1);
  rules.options
    .map((_, option) => option)
    .filter((option) => (rounds[0]?.counts[option] ?? 0) > 0 || lasts(option) > 1)
    .sort((a, b) => lasts(b) - lasts(a) || (last?.counts[b] ?? 0) - (last?.counts[a] ?? 0) || a - b)
    .forEach((option, i) => place.set(option, i));
  const order = [...place.keys()];
  const most = Math.max(1, ...rounds.map(({ counts }) => counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)));
  const scale = (HEIGHT - GAP * Math.min(order.length, 12)) / most;
  const x = (round: number): number => LABELS + (round * (WIDTH - 2 * LABELS - BAR)) / Math.max(rounds.length - 1, 1);
  const columns = rounds.map(({ counts }): Node[] => {
    let top = 0;
    return order.flatMap((option): Node[] => {
      const count = counts[option];
      if (count === undefined) return [];
      const node = { option, count, top, height: count * scale };
      top += node.height + (count > 0 ? GAP : 0);
      return [node];
    });
  });
  const flip = speech.direction === "rtl";
  const X = (at: number): number => (flip ? WIDTH - at : at);
  const ribbons = columns.slice(0, -1).flatMap((column, r) => ribbonsBetween(column, columns[r + 1] ?? [], rounds[r]?.eliminated, scale).map((ribbon) => ({ ...ribbon, r })));
  const path = (r: number, from: number, to: number, height: number): string => {
    const [left, right] = [x(r) + BAR, x(r + 1)];
    const middle = (left + right) / 2;
    return `M${X(left)},${from}C${X(middle)},${from} ${X(middle)},${to} ${X(right)},${to}V${to + height}C${X(middle)},${to + height} ${X(middle)},${from + height} ${X(left)},${from + height}Z`;
  };
  const text = (node: Node, column: number, end: boolean) =>
    node.height < 9 ? null : (
      <text key={`${column}-${node.option}`} x={X(end ? x(column) + BAR + 6 : x(column) - 6)} y={node.top + node.height / 2 + 4} text-anchor={end !== flip ? "start" : "end"} direction="ltr">
        {shorten(rules.options[node.option] ?? "")}
      </text>
    );
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={speech.say("flowLabel")}>
      <svg class="flow" viewBox={`0 -4 ${WIDTH} ${HEIGHT + 28}`} role="img" aria-label={speech.say("flowLabel")}>
        {ribbons.map(({ option, from, to, height, r, moved }, i) => <path key={i} class={`ribbon c${(place.get(option) ?? 0) % 8}${moved ? " moved" : ""}`} d={path(r, from, to, height)} />)}
        {columns.map((column, r) => column.map((node) => <rect key={`${r}-${node.option}`} class={`c${(place.get(node.option) ?? 0) % 8}`} x={X(x(r)) - (flip ? BAR : 0)} y={node.top} width={BAR} height={Math.max(node.height, 1)} />))}
        {columns[0]?.map((node) => text(node, 0, false))}
        {columns.length > 1 && columns.at(-1)?.map((node) => text(node, columns.length - 1, true))}
        {rounds.map((_, r) => <text key={r} class="axis" x={X(x(r) + BAR / 2)} y={HEIGHT + 20} text-anchor="middle">{speech.count(all.length - rounds.length + r + 1)}</text>)}
      </svg>
    </div>
  );
}

function ribbonsBetween(column: readonly Node[], next: readonly Node[], eliminated: number | undefined, scale: number) {
  const out: { option: number; from: number; to: number; height: number; moved: boolean }[] = [];
  const leaver = column.find(({ option }) => option === eliminated);
  let leaving = leaver?.top ?? 0;
  for (const node of next) {
    const before = column.find(({ option }) => option === node.option);
    if (before === undefined) continue;
    const kept = Math.min(before.count, node.count) * scale;
    if (kept > 0) out.push({ option: node.option, from: before.top, to: node.top, height: kept, moved: false });
    const gained = Math.max(0, node.count - before.count) * scale;
    if (gained > 0 && leaver !== undefined) {
      out.push({ option: leaver.option, from: leaving, to: node.top + kept, height: gained, moved: true });
      leaving += gained;
    }
  }
  return out;
}

/** For the picture only. Cut between what a reader sees as characters. */
function shorten(label: string): string {
  const parts = typeof Intl.Segmenter === "function" ? [...new Intl.Segmenter().segment(label)].map(({ segment }) => segment) : [...label];
  // The marks isolate the name within the picture's text, which knows no <bdi>.
  return `\u2068${parts.length > 20 ? `${parts.slice(0, 19).join("")}…` : label}\u2069`;
}

export function Rounds({ rules, rounds }: { rules: ContestRules; rounds: readonly RoundView[] }) {
  const speech = useSpeech();
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={speech.say("rounds")}>
      <table>
        <thead>
          <tr><th scope="col">{speech.say("option")}</th>{rounds.map((_, r) => <th key={r} scope="col">{speech.say("round", { number: r + 1 })}</th>)}</tr>
        </thead>
        <tbody>
          {rules.options.map((option, o) => (
            <tr key={o}>
              <th scope="row"><Label text={option} /></th>
              {rounds.map(({ counts, eliminated }, r) => {
                const count = counts[o];
                return <td key={r}>{count === undefined ? speech.say("out") : eliminated === o ? speech.say("eliminated", { votes: count }) : speech.count(count)}</td>;
              })}
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr><th scope="row">{speech.say("exhausted")}</th>{rounds.map(({ exhausted }, r) => <td key={r}>{speech.count(exhausted)}</td>)}</tr>
        </tfoot>
      </table>
    </div>
  );
}
