import type { Point } from "../messages.js";
import { useSpeech } from "./parts.js";

const [WIDTH, HEIGHT, MARGIN] = [720, 180, 24];

export function Timeline({ points }: { points: readonly Point[] }) {
  const speech = useSpeech();
  const [first, last] = [points[0], points.at(-1)];
  const enough = first !== undefined && last !== undefined && last[0] > first[0];
  return (
    <section class="card" aria-labelledby="timeline">
      <h2 id="timeline">{speech.say("timeline")}</h2>
      <p class="quiet">{speech.say(enough ? "timelineHelp" : "timelineEmpty")}</p>
      {enough && <Plot points={points} first={first} last={last} />}
    </section>
  );
}

function Plot({ points, first, last }: { points: readonly Point[]; first: Point; last: Point }) {
  const speech = useSpeech();
  const flip = speech.direction === "rtl";
  const x = (time: number): number => {
    const at = ((time - first[0]) / (last[0] - first[0])) * WIDTH;
    return flip ? WIDTH - at : at;
  };
  const y = (votes: number): number => HEIGHT - (votes / Math.max(last[1], 1)) * (HEIGHT - 2);
  const line = points.map(([time, votes]) => `${x(time).toFixed(1)},${y(votes).toFixed(1)}`).join("L");
  const values = { votes: Math.round(last[1]), from: speech.moment(first[0]), to: speech.moment(last[0]) };
  const start = flip ? WIDTH : 0;
  return (
    <svg class="timeline" viewBox={`0 -${MARGIN} ${WIDTH} ${HEIGHT + 2 * MARGIN}`} role="img" aria-label={speech.say("timelineLabel", values)}>
      <path class="area" d={`M${x(first[0])},${HEIGHT}L${line}L${x(last[0])},${HEIGHT}Z`} />
      <path class="line" d={`M${line}`} />
      <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />
      <text x={start} y={HEIGHT + 18} text-anchor="start">{speech.at(first[0])}</text>
      <text x={WIDTH - start} y={HEIGHT + 18} text-anchor="end">{speech.at(last[0])}</text>
      <text x={WIDTH - start} y="-8" text-anchor="end">{speech.count(Math.round(last[1]))}</text>
    </svg>
  );
}
