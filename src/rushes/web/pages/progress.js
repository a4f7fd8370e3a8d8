import { call } from "/static/api.js";
import { sentence } from "/static/session.js";
import { agreements, fill, number, percent, seconds } from "/static/tables.js";
import { say, text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);

async function load() {
  const facts = await call("/api/label/progress");
  const done = facts.pairs - facts.open;
  $("#project").textContent = facts.project;
  $("#who").textContent = facts.name || text("owner");
  $("#headline").textContent = text("campaign.headline", { labelled: done, wanted: facts.pairs });
  $(".share i").style.width = `${facts.pairs ? (100 * done) / facts.pairs : 0}%`;
  $("#several").textContent = text("progress.several", facts);
  const all = Boolean(facts.dimensions); // the owner sees agreement, everybody and the key
  document.querySelectorAll("[data-all]").forEach((element) => { element.hidden = !all; });
  if (!all) say($("#people-title"), "progress.you");
  fill("#dimensions", Object.entries(facts.dimensions || {}).map(([name, agreement]) =>
    [name.replaceAll("_", " "), agreement.units, agreement.raw === null ? "–" : `${Math.round(100 * agreement.raw)} %`, number(agreement.alpha)]),
    text("progress.nothing"));
  fill("#people", facts.people.map((person) => [
    person.name, person.pairs, person.skipped,
    ...(all ? [agreements(person.agreement)] : []),
    percent(person.repeats.same, person.repeats.of), ...(all ? [percent(person.gold.same, person.gold.of)] : []),
    percent(person.first_slot.first, person.first_slot.of),
    seconds(person.seconds), percent(person.fast.fast, person.fast.of),
  ]), text("progress.nobody"));
}

// There is nothing to label yet.
function empty(line) {
  $("main").classList.add("empty");
  sentence($("#several"), line);
}

function attempt() {
  load().then(() => { $("#note").hidden = true; $("main").classList.remove("empty"); }, (error) => {
    if (error.status === 424) return empty(error.message);
    $("#note").textContent = error.message;
    $("#note").hidden = false;
  });
}

attempt();
setInterval(attempt, 10_000);
