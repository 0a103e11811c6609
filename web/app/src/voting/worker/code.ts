const SYMBOLS = /^[0-9A-HJKMNP-TV-Z]{20}$/;

/** A one-time code as registrars know it (protocol, section 14); undefined where it is none. */
export function normalize(typed: string): string | undefined {
  const code = typed.toUpperCase().replace(/[\s\u2010-\u2015-]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
  return SYMBOLS.test(code) ? code : undefined;
}
