// A searchable list of the classes of a model: one of them can be ticked, or several.

import { $, element } from "../dom.js";

const SHOWN = 60;  // of 1,000 classes; the search finds the others
const MARKS = /\p{M}/gu;

let classes = [];
let several = false;
let ticked = new Set();

const plain = (text) => text.normalize("NFKD").replace(MARKS, "").toLowerCase();

// The classes of `entry.model`, the likeliest first. The labels of a multi-label answer are ticked.
export function fillChooser({ model, tta }) {
  several = tta.labels !== undefined;
  ticked = new Set((tta.labels ?? []).map((one) => one.label));
  const likely = new Map(tta.predictions.map((one, place) => [one.label, place]));
  const counts = new Map();
  for (const { name } of model.labels) counts.set(name, (counts.get(name) ?? 0) + 1);
  classes = model.labels.map(({ id, name, index }) => {
    const shown = counts.get(name) > 1 ? `${name} (${id})` : name;
    return { id, shown, searched: plain(`${name} ${id}`), place: likely.get(id) ?? likely.size + index };
  });
  classes.sort((one, other) => one.place - other.place);
  $("find").value = "";
  $("right-class").textContent = several ? "Right classes" : "Right class";
  showMatches();
}

// The ids that are ticked.
export const chosenClasses = () => [...ticked];

// What is shown for ids, in the words of the list.
export const namesOf = (ids) => classes.filter(({ id }) => ids.includes(id)).map((one) => one.shown).join(", ");

function showMatches() {
  const words = plain($("find").value).split(/\s+/).filter(Boolean);
  const matches = classes.filter(({ searched }) => words.every((word) => searched.includes(word)));
  const above = matches.filter(({ id }) => several && ticked.has(id));
  const listed = [...above, ...matches.filter((one) => !above.includes(one))].slice(0, Math.max(SHOWN, above.length));
  $("matches").replaceChildren(...listed.map(choice));
  const more = matches.length - listed.length;
  $("matches-count").textContent = matches.length === 0 ? "No class has this name."
    : more ? `${more.toLocaleString("en")} more: type a part of the name.` : "";
  follow();
}

function choice({ id, shown }) {
  const kind = several ? "checkbox" : "radio";
  const input = element("input", { type: kind, name: "right", value: id, checked: ticked.has(id) });
  input.addEventListener("change", () => {
    if (!several) ticked.clear();
    if (input.checked) ticked.add(id);
    else ticked.delete(id);
    follow();
  });
  return element("li", {}, element("label", {}, input, element("span", { textContent: shown })));
}

function follow() {
  $("save-class").disabled = ticked.size === 0;
}

$("find").addEventListener("input", showMatches);
$("find").addEventListener("keydown", (event) => {
  const inputs = $("matches").querySelectorAll("input");
  if (event.key === "ArrowDown" && inputs.length) inputs[0].focus();
  else if (event.key === "Enter" && inputs.length === 1) inputs[0].click();  // the only match
  else if (event.key !== "Enter") return;
  event.preventDefault();
});
