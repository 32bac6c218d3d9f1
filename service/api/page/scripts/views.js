// Where the views of an answer lie on the photo, and what each says.

import { $, element, percent } from "./dom.js";

const CORNERS = ["tl", "tr", "bl", "br", "centre"];
const NAMES = ["top left", "top right", "bottom left", "bottom right", "centre"];

// Which of NAMES a box is: by where its middle lies, since modes differ in how many views they show.
function placeOf([left, top, right, bottom]) {
  const across = left + right - 1;
  const down = top + bottom - 1;
  if (Math.hypot(across, down) < 0.02) return 4;
  return (down > 0 ? 2 : 0) + (across > 0 ? 1 : 0);
}

function box(view, className = "crop") {
  const [left, top, right, bottom] = view.box;
  const node = element("div", { className });
  node.style.setProperty("--colour", `var(--crop-${placeOf(view.box)})`);
  node.style.left = percent(left);
  node.style.top = percent(top);
  node.style.width = percent(right - left);
  node.style.height = percent(bottom - top);
  return node;
}

// The single crop: what lies outside it is dimmed, since it was not looked at.
export function showSeen(crops, views) {
  crops.replaceChildren(box(views[0], "crop seen"));
}

// Where a gate opened, the first view is that of the pass before it.
export function showViews({ views, gate_open: gateOpen }) {
  const boxes = [];
  const items = views.map((view, index) => {
    const [left, top, right, bottom] = view.box;
    const place = placeOf(view.box);
    const node = box(view);
    const again = views.slice(index + 1, 6).some((later) => placeOf(later.box) === place);
    if (index < 6 && !again) {
      const label = element("span", { className: CORNERS[place], textContent: view.name });
      label.style.maxWidth = percent(Math.min(0.95, 0.46 / (right - left)));  // half the photo
      node.append(label);
    }
    boxes.push(node);
    const first = gateOpen && index === 0;
    const where = (first ? "first pass, " : "") +
      (right - left + bottom - top < 2 ? NAMES[place] : "whole") + (view.flip ? ", mirrored" : "");
    return element("li", {}, pointer(view, where, place, node));
  });
  $("crops").replaceChildren(...boxes);
  $("frame").classList.remove("picking");
  $("views").replaceChildren(...items);
}

function pointer(view, where, place, node) {
  const button = element("button", { type: "button" }, element("i"),
    element("span", { className: "where", textContent: `${where}: ` }),
    element("span", { textContent: view.name }),
    element("span", { className: "percent", textContent: percent(view.probability) }));
  button.style.setProperty("--colour", `var(--crop-${place})`);
  button.setAttribute("aria-pressed", "false");
  const pick = (on) => {
    $("frame").classList.toggle("picking", on);
    node.classList.toggle("picked", on);
    button.setAttribute("aria-pressed", String(on));
  };
  for (const start of ["mouseenter", "focus"]) button.addEventListener(start, () => pick(true));
  for (const end of ["mouseleave", "blur"]) button.addEventListener(end, () => pick(false));
  return button;
}
