import { type Bytes, fromBase64 } from "../src/bytes.js";
import { vectors } from "./vectors.js";

/** A published tree of trees.json. */
export interface Tree {
  readonly why: string;
  readonly election: string;
  readonly state: string;
  readonly findings: readonly { readonly code: string; readonly votes: number }[];
  readonly also: readonly string[];
  readonly files: ReadonlyMap<string, Bytes>;
}

export function trees(): Tree[] {
  const { blobs, cases } = vectors<{ blobs: string[]; cases: (Omit<Tree, "files"> & { files: Record<string, number> })[] }>("trees");
  return cases.map((tree) => ({ ...tree, files: new Map(Object.entries(tree.files).map(([path, blob]) => [path, fromBase64(blobs[blob] ?? "")])) }));
}
