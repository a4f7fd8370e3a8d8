// A person's own labels in a dialog: filter, jump, correct.
import { call } from "/static/api.js";
import { away, guarded } from "/static/session.js";
import { shown, text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);
const upper = (sides) => sides.map((side) => side.toUpperCase()).join(" = ");

export class OwnLabels {
  // opened: hears the id of the item that the person chose.
  constructor(opened) {
    this.dialog = $("#mine");
    this.opened = opened;
    this.more = null;
    this.asked = 0;
    this.dialog.addEventListener("input", () => guarded(() => this.load(true)));
    this.dialog.addEventListener("click", (event) => {
      const entry = event.target.closest("[data-item]");
      if (entry) { this.dialog.close(); guarded(() => this.opened(entry.dataset.item)); }
      if (event.target.closest("#mine-more")) guarded(() => this.load(false));
    });
  }

  open(reasons) {
    const select = $("#mine-reason");
    select.replaceChildren(new Option(text("mine.any"), ""), ...reasons.map((word) => new Option(word, word)));
    select.closest("label").hidden = !reasons.length;
    this.dialog.showModal();
    return this.load(true);
  }

  async load(anew) {
    const turn = ++this.asked;
    const wanted = { answer: $("#mine-answer").value, reason: $("#mine-reason").value, text: $("#mine-text").value.trim() };
    const answer = await call(`/api/${document.body.dataset.section}/mine`, { ...wanted, ...(anew ? {} : { before: this.more }) }, away);
    if (turn !== this.asked) return;
    const rows = answer.entries.map((entry) => this.row(entry));
    if (anew) $("#mine-list").replaceChildren(...rows);
    else $("#mine-list").append(...rows);
    this.more = answer.more;
    $("#mine-more").hidden = answer.more === null;
    $("#mine-none").hidden = $("#mine-list").children.length > 0 || answer.more !== null;
  }

  row(entry) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.item = entry.id;
    const prompt = document.createElement("span");
    prompt.className = "prompt";
    prompt.textContent = shown(entry.prompt);
    const facts = document.createElement("small");
    const answer = entry.answer === "ranking" ? text("mine.ranking", { ranking: entry.ranking.map(upper).join(" > ") }) : text(`mine.${entry.answer}`);
    const broken = entry.broken.length ? text("mine.broken", { sides: upper(entry.broken) }) : "";
    const strength = entry.strength && text(`mine.${entry.strength}`);
    const when = new Date(1000 * entry.saved_at).toLocaleString();
    facts.textContent = [answer, strength, entry.reasons.join(", "), broken, entry.note, when].filter(Boolean).join(" · ");
    button.append(prompt, facts);
    const line = document.createElement("li");
    line.append(button);
    return line;
  }
}
