// A report in a frame of its own origin: its address answers once, so it is asked for each time.
import { call } from "/static/api.js";
import { attempt, make, missing } from "/static/wall.js";

const $ = (selector) => document.querySelector(selector);
let reports = [];

const fresh = async () => (await call("/api/report/open", { name: $("#reports").value })).address;

async function open() {
  const name = $("#reports").value;
  const row = reports.find((each) => each.name === name);
  const frame = $("#report-frame");
  frame.title = `Report ${name}`;
  frame.hidden = false;
  $("#facts").textContent = `${(row.bytes / 1e6).toFixed(1)} MB, written ${new Date(1000 * row.changed).toLocaleString()}`;
  history.replaceState(null, "", `${location.pathname}?report=${encodeURIComponent(name)}`);
  frame.src = await fresh();
}

$("#reports").addEventListener("change", () => attempt(open));
$("#again").addEventListener("click", () => attempt(load));
$("#alone").addEventListener("click", () => attempt(async () => {
  const tab = window.open("", "_blank");  // before the answer comes, or the browser takes it for an advertisement
  const address = await fresh();
  if (tab) { tab.opener = null; tab.location.href = new URL(address, location.href).href; } else location.href = address;
}));

async function load() {
  const wanted = $("#reports").value || new URLSearchParams(location.search).get("report");
  const answer = await call("/api/report/list");
  reports = answer.reports;
  missing($("#nothing"), answer.nothing);
  $("#all").hidden = !reports.length;
  $("#reports").replaceChildren(...reports.map(({ name }) => Object.assign(make("option", name.replace(/\.html$/, "")), { value: name })));
  if (!reports.length) return;
  if (reports.some(({ name }) => name === wanted)) $("#reports").value = wanted;
  await open();
}

attempt(load);
