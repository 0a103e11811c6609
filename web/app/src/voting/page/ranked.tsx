import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Label } from "../../page/parts.js";
import type { ContestProps } from "./ballot.js";
import { useSpeech } from "./parts.js";

/** An order by buttons, by keyboard (the same buttons), or by dragging. */
export function Ranked({ rules, place, chosen, choose, shown }: ContestProps & { readonly shown: readonly number[] }) {
  const speech = useSpeech();
  const [said, setSaid] = useState("");
  const [dragged, setDragged] = useState<number>();
  const focus = useRef<string>();
  const box = useRef<HTMLDivElement>(null);
  const nameOf = (option: number): string => rules.options[option] ?? "";
  // The button that was used has moved, or is gone: the focus follows what was moved.
  useLayoutEffect(() => {
    const wanted = focus.current;
    focus.current = undefined;
    if (wanted === undefined) return;
    const [option = "", way = ""] = wanted.split(" ");
    const ways = [...(box.current?.querySelectorAll<HTMLButtonElement>(`[data-option="${option}"] button`) ?? [])].filter((button) => !button.disabled);
    // Taken out, it may be one that the search hides.
    (ways.find((button) => button.dataset["way"] === way) ?? ways[0] ?? box.current?.querySelector<HTMLElement>("h4"))?.focus();
  });
  const move = (option: number, to: number, way: string): void => {
    focus.current = `${option} ${way}`;
    setSaid(speech.say("nowAt", { option: nameOf(option), place: to + 1 }));
    choose((before) => {
      const rest = before.filter((other) => other !== option);
      return [...rest.slice(0, to), option, ...rest.slice(to)];
    });
  };
  const out = (option: number): void => {
    focus.current = `${option} add`;
    setSaid(speech.say("nowOut", { option: nameOf(option) }));
    choose((before) => before.filter((other) => other !== option));
  };
  const drop = (event: DragEvent, to: number): void => {
    event.preventDefault();
    event.stopPropagation();
    if (dragged === undefined) return;
    const from = chosen.indexOf(dragged);
    move(dragged, from >= 0 && from < to ? to - 1 : to, "");
    setDragged(undefined);
  };
  const over = (event: DragEvent): void => event.preventDefault();
  const rest = shown.filter((option) => !chosen.includes(option));
  return (
    <div ref={box}>
      <h4 tabIndex={-1}>{speech.say("yourOrder")}</h4>
      <ol class="order" onDragOver={over} onDrop={(event) => drop(event, chosen.length)}>
        {chosen.map((option, i) => (
          <li key={option} data-option={option} draggable onDragStart={() => setDragged(option)} onDragOver={over} onDrop={(event) => drop(event, i)}>
            <span class="what"><Label text={nameOf(option)} /></span>
            <span class="tools">
              <Tool way="up" label={speech.say("up", { option: nameOf(option) })} sign="↑" off={i === 0} act={() => move(option, i - 1, "up")} />
              <Tool way="down" label={speech.say("down", { option: nameOf(option) })} sign="↓" off={i === chosen.length - 1} act={() => move(option, i + 1, "down")} />
              <Tool way="out" label={speech.say("remove", { option: nameOf(option) })} sign="×" off={false} act={() => out(option)} />
            </span>
          </li>
        ))}
      </ol>
      {chosen.length === 0 && <p class="quiet">{speech.say("nobodyYet")}</p>}
      <h4>{speech.say("others")}</h4>
      <ul class="options">
        {rest.map((option) => (
          <li key={option} data-option={option} class="rest" draggable onDragStart={() => setDragged(option)}>
            <span class="what"><Label text={nameOf(option)} /></span>
            <span class="tools"><Tool way="add" label={speech.say("add", { option: nameOf(option) })} sign="+" off={false} act={() => move(option, chosen.length, "up")} /></span>
          </li>
        ))}
      </ul>
      <p class="visually-hidden" role="status" data-contest-said={place}>{said}</p>
    </div>
  );
}

function Tool({ way, label, sign, off, act }: { way: string; label: string; sign: string; off: boolean; act: () => void }) {
  return <button type="button" data-way={way} aria-label={label} title={label} disabled={off} onClick={act}>{sign}</button>;
}
