import { en, type Words } from "../lang/en.js";

export const LANGUAGES = { en: "English", es: "Español", pt: "Português", fr: "Français", de: "Deutsch", ar: "العربية" } as const;
export type Language = keyof typeof LANGUAGES;

const KEPT = "tallyroot-language";

export const isLanguage = (value: string | null | undefined): value is Language => value != null && Object.hasOwn(LANGUAGES, value);

/** What the address asks for, then what was chosen here before, then what the browser prefers. */
export function preferred(): Language {
  const asked = new URLSearchParams(location.search).get("lang");
  if (isLanguage(asked)) return asked;
  const kept = read(KEPT);
  if (isLanguage(kept)) return kept;
  return navigator.languages.map((language) => language.split("-")[0]).find(isLanguage) ?? "en";
}

/** The words of a language: the first one is in the page, the others are fetched when asked for. */
export async function load(language: Language): Promise<Words> {
  if (language === "en") return en;
  const file = new URL(`${language}.js`, import.meta.url).href;
  return ((await import(file)) as { words: Words }).words;
}

export function keepLanguage(language: Language): void {
  write(KEPT, language);
}

/** A browser may forbid storage; nothing but the memory of earlier visits depends on it. */
export function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function write(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Full, or forbidden.
  }
}

const MOMENT = { year: "numeric", month: "long", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" } as const;
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" } as const;

/** The words, and how numbers and times are written, in one language. */
export class Speech<W extends Readonly<Record<keyof W, string>> = Words> {
  readonly language: Language;
  readonly words: W;
  /** Made when first wanted: each takes a slow device tens of milliseconds. */
  private readonly formats = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

  constructor(language: Language, words: W) {
    this.language = language;
    this.words = words;
  }

  private format<F extends Intl.NumberFormat | Intl.DateTimeFormat>(name: string, make: () => F): F {
    const made = (this.formats.get(name) as F | undefined) ?? make();
    this.formats.set(name, made);
    return made;
  }

  get direction(): "ltr" | "rtl" {
    return this.language === "ar" ? "rtl" : "ltr";
  }

  say(name: keyof W, values: Readonly<Record<string, string | number>> = {}): string {
    return this.words[name].replace(/\{([a-z]+)\}/gi, (whole, key: string) => {
      const value = values[key];
      return value === undefined ? whole : typeof value === "number" ? this.count(value) : value;
    });
  }

  count(value: number): string {
    return this.format("count", () => new Intl.NumberFormat(this.language)).format(value);
  }

  rate(value: number): string {
    return this.format("rate", () => new Intl.NumberFormat(this.language, { maximumFractionDigits: 1 })).format(value);
  }

  share(value: number): string {
    return this.format("share", () => new Intl.NumberFormat(this.language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 })).format(value);
  }

  size(bytes: number): string {
    return this.format("size", () => new Intl.NumberFormat(this.language, { style: "unit", unit: "kilobyte", unitDisplay: "short", maximumFractionDigits: 0 })).format(bytes / 1000);
  }

  /** A manifest may hold times beyond a browser's calendar. */
  moment(ms: number): string {
    return Number.isNaN(new Date(ms).getTime()) ? `${ms} ms` : this.format("moment", () => new Intl.DateTimeFormat(this.language, MOMENT)).format(ms);
  }

  at(ms: number): string {
    return Number.isNaN(new Date(ms).getTime()) ? `${ms} ms` : this.format("at", () => new Intl.DateTimeFormat(this.language, CLOCK)).format(ms);
  }
}
