// Figures in tables.
import { shown } from "/static/text.js";

export const percent = (part, of) => (of ? `${Math.round((100 * part) / of)} % of ${of}` : "–");
export const number = (value) => (value === null ? "–" : value.toFixed(2));
export const seconds = (value) => (value === null ? "–" : `${Math.round(value)} s`);

// Rows of texts into the body of a table; the first cell of each is its header. `nothing`: what stands there without any.
export function fill(table, rows, nothing = "") {
  const body = document.querySelector(`${table} tbody`);
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    row.forEach((text, at) => {
      const cell = document.createElement(at ? "td" : "th");
      cell.textContent = shown(text);
      line.append(cell);
    });
    return line;
  }));
  if (rows.length || !nothing) return;
  const cell = body.insertRow().insertCell();
  cell.colSpan = 9;
  cell.className = "faint";
  cell.textContent = nothing;
}

// Agreement by question, as one text.
export const agreements = (by) =>
  Object.entries(by).filter(([, at]) => at.units).map(([name, at]) => `${name}: ${Math.round(100 * at.raw)} %, ${number(at.alpha)}`).join("; ") || "–";
