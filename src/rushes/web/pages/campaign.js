// The owner's look at a campaign: how far, how fast, how well, and what is left.
import { call } from "/static/api.js";
import { agreements, fill, percent, seconds } from "/static/tables.js";
import { text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);
const POLL_MS = 10_000;

const time = (left) => (left === null ? "–" : left === 0 ? text("time.none") : left < 90 ? text("time.soon") : left < 5400 ? text("time.minutes", { n: Math.round(left / 60) })
  : text("time.hours", { n: (left / 3600).toFixed(1) }));
const side = (person) => [percent(person.first_slot.first, person.first_slot.of), person.lean && text("campaign.leans", { name: person.name, side: person.lean })].filter(Boolean).join("; ");
const practice = (person) => (person.practice ? text(person.practice.passed ? "campaign.passed" : person.practice.of ? "campaign.practises" : "campaign.unpractised", person.practice) : "–");

const pairs = (person) => [String(person.pairs) + (person.quota === null ? "" : ` / ${person.quota}`), person.votes && text("campaign.votes", { n: person.votes })].filter(Boolean).join("; ");

function drawPeople(facts) {
  fill("#people", facts.people.map((person) => [
    person.name, pairs(person), person.per_hour === null ? "–" : Math.round(person.per_hour), time(person.left_s),
    agreements(person.agreement), percent(person.repeats.same, person.repeats.of), percent(person.gold.same, person.gold.of), practice(person),
    side(person), seconds(person.seconds), percent(person.fast.fast, person.fast.of),
  ]));
}

function drawJudges({ judges, dimensions }) {
  const compared = judges.filter((each) => each.of);
  $("#judges").hidden = !compared.length;
  const lines = compared.map(({ name, same, of }) => text("campaign.judge", { name, share: percent(same, of) }));
  const people = agreements(dimensions);
  $("#judges ul").replaceChildren(...[...lines, ...(people === "–" ? [] : [text("campaign.judges.people", { people })])].map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  }));
}

async function load() {
  const facts = await call("/api/campaign/facts");
  const begun = facts.campaign || facts.people.length;
  $("#headline").textContent = text(begun ? "campaign.headline" : "campaign.none", facts);
  $(".share i").style.width = `${facts.wanted ? Math.min(100, (100 * facts.labelled) / facts.wanted) : 0}%`;
  const left = facts.left_s ? text("campaign.left.all", { time: time(facts.left_s) }) : "";
  $("#target").textContent = !begun ? text("campaign.begin", facts) : [facts.enough, left, facts.code && text("campaign.code", facts)].filter(Boolean).join(" · ");
  drawPeople(facts);
  drawJudges(facts);
  const reasons = Object.entries(facts.reasons).map(([word, n]) => `${word} ${n}`).join(", ");
  $("#reasons").textContent = reasons && text("campaign.reasons", { reasons });
  $("#vote").hidden = !facts.vote;
  if (!facts.vote) return;
  $("#vote-words").textContent = facts.vote.words;
  $("#vote-facts").textContent = text("campaign.vote.facts", facts.vote);
}

function attempt() {
  load().then(() => { $("#note").hidden = true; $("#nothing").hidden = true; }, (error) => {
    const place = error.status === 424 ? $("#nothing") : $("#note");  // there is nothing to label yet
    place.textContent = error.message;
    place.hidden = false;
  });
}

attempt();
setInterval(attempt, POLL_MS);
