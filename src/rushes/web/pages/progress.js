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
  document.querySelectorAll("[data-all]").forEach((one) => { one.hidden = !all; });
  if (!all) say($("#people-title"), "progress.you");
  fill("#dimensions", Object.entries(facts.dimensions || {}).map(([name, one]) =>
    [name.replaceAll("_", " "), one.units, one.raw === null ? "–" : `${Math.round(100 * one.raw)} %`, number(one.alpha)]),
    text("progress.nothing"));
  fill("#people", facts.people.map((one) => [
    one.name, one.pairs, one.skipped,
    ...(all ? [agreements(one.agreement)] : []),
    percent(one.repeats.same, one.repeats.of), ...(all ? [percent(one.gold.same, one.gold.of)] : []),
    percent(one.first_slot.first, one.first_slot.of),
    seconds(one.seconds), percent(one.fast.fast, one.fast.of),
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
