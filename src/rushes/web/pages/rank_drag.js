// Takes are ranked by dragging: their pictures, or their letters, which a finger takes too.
const LEAST_PX = 6;  // a shorter drag is a click
const NEAR_PX = 16;  // around the row of places, that still counts as on it

// What a point of the screen stands for: before place `at`, or in it (`tie`); `out`: among those that have no place;
// null where it is not near the row.
function placeAt(row, x, y) {
  const over = (box, by = 0) => x >= box.left - by && x <= box.right + by && y >= box.top - by && y <= box.bottom + by;
  if (!over(row.getBoundingClientRect(), NEAR_PX)) return null;
  if (over(row.querySelector("#unplaced").getBoundingClientRect())) return { out: true };
  const boxes = [...row.querySelectorAll("#places li")].map((item) => item.getBoundingClientRect());
  const at = boxes.findIndex((box) => y < box.top || (y <= box.bottom + 4 && x <= box.right + 4));
  if (at < 0) return { at: boxes.length };
  const share = (x - boxes[at].left) / boxes[at].width;
  if (y < boxes[at].top || share < 0.25) return { at };
  return share <= 0.75 ? { at, tie: true } : { at: at + 1 };
}

// area: what holds clips and row; sideOf: the take that an element stands for, "" = none that may be dragged now;
// dropped: hears the take and what `placeAt` says of where it was let go.
export function rankByDragging(area, row, sideOf, dropped) {
  const letter = document.createElement("b");
  Object.assign(letter, { id: "dragged", hidden: true });
  letter.setAttribute("aria-hidden", "true");
  area.append(letter);
  let held = null;

  function mark(target) {
    const items = [...row.querySelectorAll("#places li")];
    items.forEach((item, at) => {
      item.classList.toggle("joined", Boolean(target?.tie) && target.at === at);
      item.classList.toggle("before", !target?.tie && target?.at === at);
      item.classList.toggle("after", !target?.tie && target?.at === items.length && at === items.length - 1);
    });
    row.querySelector("#unplaced").classList.toggle("joined", Boolean(target?.out));
  }

  function end() {
    held = null;
    letter.hidden = true;
    row.classList.remove("dragging");
    mark(null);
  }

  area.addEventListener("pointerdown", (event) => {
    if (held) return end();  // a second finger
    const side = event.button ? "" : sideOf(event.target);
    if (side) held = { side, id: event.pointerId, x: event.clientX, y: event.clientY, moved: false };
    return undefined;
  });
  area.addEventListener("pointermove", (event) => {
    if (held?.id !== event.pointerId) return;
    if (!held.moved && Math.hypot(event.clientX - held.x, event.clientY - held.y) < LEAST_PX) return;
    if (!held.moved) {
      held.moved = true;
      area.setPointerCapture(event.pointerId);
      letter.textContent = held.side.toUpperCase();
      letter.className = held.side;
      row.classList.add("dragging");
    }
    letter.hidden = false;
    letter.style.translate = `${event.clientX}px ${event.clientY}px`;
    mark(placeAt(row, event.clientX, event.clientY));
  });
  area.addEventListener("pointerup", (event) => {
    if (held?.id !== event.pointerId) return;
    const { side, moved } = held;
    const target = placeAt(row, event.clientX, event.clientY);
    end();
    if (!moved) return;
    const swallow = (click) => click.stopPropagation();  // the click that a drag may end with
    addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => removeEventListener("click", swallow, { capture: true }));
    if (target) dropped(side, target);
  });
  area.addEventListener("pointercancel", end);
  addEventListener("keydown", (event) => { if (event.key === "Escape" && held?.moved) end(); });
}
