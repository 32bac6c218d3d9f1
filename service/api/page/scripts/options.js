// The controls: which modes and options the chosen model can answer, and what is chosen.

import { $, element, plural, whole } from "./dom.js";
import { get } from "./api.js";
import { AGGREGATES, MODES } from "./words.js";

const OPEN_CLASSES = 24;  // a longer list starts closed
let served = [];
let details = null;

export const mode = () => document.querySelector("#modes input:checked").value;
export const model = () => details;
export const severalModels = () => served.length > 1;

// The options of a request, as the query has them.
export function chosen() {
  return {
    tta: mode(),
    aggregate: $("aggregate").value === "mean" ? "" : $("aggregate").value,
    coverage: $("coverage").value,
    model: severalModels() ? $("model").value : "",
  };
}

export async function loadModels() {
  served = (await get("models")).models;
  const items = served.map((one) => element("option", { value: one.model, textContent: one.model }));
  $("model").replaceChildren(...items);
  $("model-field").hidden = !severalModels();
  await offer(served.find((one) => one.default).model, true);
}

// Only what the model can answer is offered: its modes and their options, and a heat map.
export async function offer(tag, first = false) {
  details = await get(`models/${encodeURIComponent(tag)}`);
  for (const input of document.querySelectorAll("#modes input")) {
    input.closest("label").hidden = !details.modes.includes(input.value);
  }
  $("heat-field").hidden = !details.heatmap;
  if (first || !details.modes.includes(mode())) {
    const own = document.querySelector(`#modes input[value="${details.default_tta}"]`);
    if (own) own.checked = true;
  }
  offerOptions();
  listClasses();
}

export function offerOptions() {
  const own = details.mode_options.find((one) => one.mode === mode());
  const average = own.expected_cost ? ` Mean cost: ${own.expected_cost.toFixed(2)} crops.` : "";
  $("mode-help").textContent = MODES[mode()].help + average;
  fill($("aggregate"), own.aggregates.map((how) => [how, AGGREGATES[how]]));
  $("aggregate").disabled = mode() === "none";  // one view needs no combination
  fill($("coverage"), [["", "off"], ...own.coverages.map((share) => [share, `right in ${whole(share)}`])]);
  $("coverage-field").hidden = !own.coverages.length;
}

// Choose again what `options` were.
export async function restore(options) {
  if (options.model && options.model !== $("model").value) {
    $("model").value = options.model;
    await offer(options.model);
  }
  const radio = document.querySelector(`#modes input[value="${options.tta}"]`);
  if (radio) radio.checked = true;
  offerOptions();
  $("aggregate").value = options.aggregate || "mean";
  $("coverage").value = options.coverage;
}

function fill(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
  if (pairs.some(([value]) => String(value) === before)) select.value = before;
}

function listClasses() {
  const names = details.labels.map((one) => one.name);
  $("classes-count").textContent = `This model knows ${plural(names.length, "class", "classes")}`;
  const list = $("classes").querySelector("ul");
  list.replaceChildren(...names.map((name) => element("li", { textContent: name })));
  $("classes").open = names.length <= OPEN_CLASSES;
}
