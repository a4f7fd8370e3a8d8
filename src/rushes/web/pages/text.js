// Words of the page, out of the table of its language.
import WORDS from "/static/words.js";

const plural = new Intl.PluralRules(WORDS.language);

// The text of a key, its {values} put in.
export function text(key, values = {}) {
  const entry = WORDS[key];
  const form = typeof entry === "object" ? entry[plural.select(values.n)] || entry.other : entry;
  return form.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

// People's text as it is shown: what would turn its direction, and control characters, are escaped as in reports.
export function shown(words) {
  return String(words ?? "").replace(/(?!\n)[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

// Puts a text into an element; [A] becomes a key cap.
export function say(element, key, values = {}) {
  element.replaceChildren(...text(key, values).split(/(\[[^\]]+\])/).map((piece, at) => {
    if (at % 2 === 0) return piece;
    const cap = document.createElement("kbd");
    cap.textContent = piece.slice(1, -1);
    return cap;
  }));
}

// Fills all elements of a page that name their words: data-words as text, data-label for screen readers.
export function fillWords(root = document) {
  document.documentElement.lang = WORDS.language;
  root.querySelectorAll("[data-words]").forEach((element) => say(element, element.dataset.words));
  root.querySelectorAll("[data-label]").forEach((element) => element.setAttribute("aria-label", text(element.dataset.label)));
  root.querySelectorAll("[data-hint]").forEach((element) => { element.placeholder = text(element.dataset.hint); });
}
