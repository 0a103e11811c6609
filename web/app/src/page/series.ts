import type { Point } from "../messages.js";

const STEPS = 160;

/** A cell's points in order of time, with votes that only rise, none above what was proven. */
export function merged(one: readonly Point[], other: readonly Point[], proven: number): Point[] {
  const out: Point[] = [];
  for (const point of [...one, ...other].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = out.at(-1);
    if (point[1] > proven || (last !== undefined && point[1] <= last[1])) continue;
    if (last !== undefined && last[0] === point[0]) out.pop();
    out.push(point);
  }
  return out;
}

function at(points: readonly Point[], time: number): number {
  let before: Point | undefined;
  for (const point of points) {
    if (point[0] > time) {
      if (before === undefined) return 0;
      return before[1] + ((point[1] - before[1]) * (time - before[0])) / (point[0] - before[0]);
    }
    before = point;
  }
  return before?.[1] ?? 0;
}

/** The sum over the cells, at the times of their points. */
export function total(cells: readonly (readonly Point[])[]): Point[] {
  const times = [...new Set(cells.flatMap((points) => points.map(([time]) => time)))].sort((a, b) => a - b);
  const step = Math.max(1, Math.ceil(times.length / STEPS));
  return times.filter((_, i) => i % step === 0 || i === times.length - 1).map((time): Point => [time, cells.reduce((sum, points) => sum + at(points, time), 0)]);
}

/** Votes a second over the last minute that is known. */
export function rate(points: readonly Point[]): number | undefined {
  const last = points.at(-1);
  const before = last && points.findLast(([time]) => time <= last[0] - 60_000);
  const first = before ?? points[0];
  return last === undefined || first === undefined || last[0] === first[0] ? undefined : ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
}
