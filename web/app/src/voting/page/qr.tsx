import encodeQR from "qr";
import { useMemo } from "preact/hooks";

/** A QR code holds so many bytes at most. */
const BYTES_MAX = 2_900;

/** Whether a text fits in a code. */
export const fits = (text: string): boolean => new TextEncoder().encode(text).length <= BYTES_MAX;

/** A text as a QR code: dark on light in every theme, or cameras do not read it. */
export function Code({ text, label }: { text: string; label: string }) {
  const { size, path } = useMemo(() => {
    const rows = encodeQR(text, "raw", { ecc: "low", border: 4 });
    const dark = rows.flatMap((row, y) => row.flatMap((module, x) => (module ? [`M${x} ${y}h1v1h-1z`] : [])));
    return { size: rows.length, path: dark.join("") };
  }, [text]);
  return (
    <svg class="qr" role="img" aria-label={label} viewBox={`0 0 ${size} ${size}`} shape-rendering="crispEdges" data-text={text}>
      <path class="light" d={`M0 0h${size}v${size}h-${size}z`} />
      <path class="dark" d={path} />
    </svg>
  );
}
