import { type ComponentChildren, createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Words } from "../lang/en.js";
import type { Speech } from "./words.js";

export const SpeechContext = createContext<Speech | undefined>(undefined);

export function useSpeech(): Speech {
  const speech = useContext(SpeechContext);
  if (speech === undefined) throw new Error("no language");
  return speech;
}

/** A label of the election: whatever it is written in, it turns around nothing beside it, and it is never more than text. */
export function Label({ text }: { text: string }) {
  return <bdi dir="auto">{text}</bdi>;
}

/** A sentence with something in it that is more than text. */
export function Sentence({ name, values, parts }: { name: keyof Words; values?: Record<string, string | number>; parts: Record<string, ComponentChildren> }) {
  const pieces = useSpeech().say(name, values).split(/\{([a-z]+)\}/i);
  return <>{pieces.map((piece, i) => (i % 2 === 0 ? piece : parts[piece]))}</>;
}

export function Command({ id }: { id?: string }) {
  return <code dir="ltr">tallyroot-verify audit{id === undefined ? "" : ` … --election ${id.slice(0, 8)}…`}</code>;
}

/** The id in groups, which are easier to compare. */
export function Id({ id }: { id: string }) {
  return <code class="id" dir="ltr">{id.replace(/(.{8})(?!$)/g, "$1 ")}</code>;
}
