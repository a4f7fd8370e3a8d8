// The owner's look at a campaign: how far, how fast, how well, and what is left.
import { call } from "/static/api.js";
import { agreements, fill, percent, seconds } from "/static/tables.js";
import { text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);
const POLL_MS = 10_000;

const time = (left) => (left === null ? "–" : left === 0 ? text("time.none") : left < 90 ? text("time.soon") : left < 5400 ? text("time.minutes", { n: Math.round(left / 60) })
  : text("time.hours", { n: (left / 3600).toFixed(1) }));
const side = (one) => [percent(one.first_slot.first, one.first_slot.of), one.lean && text("campaign.leans", { name: one.name, side: one.lean })].filter(Boolean).join("; ");
const practice = (one) => (one.practice ? text(one.practice.passed ? "campaign.passed" : one.practice.of ? "campaign.practises" : "campaign.unpractised", one.practice) : "–");

const pairs = (one) => [String(one.pairs) + (one.quota === null ? "" : ` / ${one.quota}`), one.votes && text("campaign.votes", { n: one.votes })].filter(Boolean).join("; ");

function drawPeople(facts) {
  fill("#people", facts.people.map((one) => [
    one.name, pairs(one), one.per_hour === null ? "–" : Math.round(one.per_hour), time(one.left_s),
    agreements(one.agreement), percent(one.repeats.same, one.repeats.of), percent(one.gold.same, one.gold.of), practice(one),
    side(one), seconds(one.seconds), percent(one.fast.fast, one.fast.of),
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
