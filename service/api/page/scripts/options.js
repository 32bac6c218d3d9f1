// The controls: which modes and options the chosen model can answer, and what is chosen.

import { $, element, exact, plural, whole } from "./dom.js";
import { get } from "./api.js";
import { AGGREGATES, MODES, rateWords } from "./words.js";

const OPEN_CLASSES = 24;  // a longer list starts closed
const RATES = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];  // to choose from
let served = [];
let feedback = false;
let details = null;

export const mode = () => document.querySelector("#modes input:checked").value;
export const model = () => details;
export const severalModels = () => served.length > 1;
export const takesFeedback = () => feedback;

// The options of a request, as the query has them.
export function chosen() {
  return {
    tta: mode(),
    aggregate: $("aggregate").value === "mean" ? "" : $("aggregate").value,
    coverage: $("coverage").value,
    known_rate: $("known-rate").value,
    model: severalModels() ? $("model").value : "",
  };
}

export async function loadModels(signal) {
  const answer = await get("models", { signal });
  served = answer.models;
  feedback = answer.feedback === true;
  const items = served.map((one) => element("option", { value: one.model, textContent: one.model }));
  $("model").replaceChildren(...items);
  $("model-field").hidden = !severalModels();
  await offer(served.find((one) => one.default).model, true, signal);
}

// Only what the model can answer is offered: its modes and their options, and a heat map.
export async function offer(tag, first = false, signal = null) {
  details = await get(`models/${encodeURIComponent(tag)}`, { signal });
  for (const input of document.querySelectorAll("#modes input")) {
    input.closest("label").hidden = !details.modes.includes(input.value);
  }
  $("heat-field").hidden = !details.heatmap;
  const untouched = document.querySelector("#modes input:checked").defaultChecked;
  if ((first && untouched) || !details.modes.includes(mode())) {
    const own = document.querySelector(`#modes input[value="${details.default_tta}"]`);
    if (own) own.checked = true;
  }
  offerOptions();
  listClasses();
}

// `rate` is the known rate to choose, if the mode has it.
export function offerOptions(rate = $("known-rate").value) {
  const own = details.mode_options.find((one) => one.mode === mode());
  const average = own.expected_cost ? ` Mean cost: ${own.expected_cost.toFixed(2)} crops.` : "";
  $("mode-help").textContent = MODES[mode()].help + average;
  fill($("aggregate"), own.aggregates.map((how) => [how, AGGREGATES[how]]));
  $("aggregate").disabled = mode() === "none";  // one view needs no combination
  fill($("coverage"), [["", "off"], ...own.coverages.map((share) => [share, `right in ${whole(share)}`])]);
  $("coverage-field").hidden = !own.coverages.length;
  offerRates(own.known_rates, rate);
}

// How many photos of known classes to accept. `range` is missing where there is no unknown score.
function offerRates(range, wanted) {
  const [least, most] = range ?? [1, 0];
  const rates = [...new Set([...RATES, Number(wanted)])].sort((one, other) => one - other)
    .filter((rate) => rate >= least && rate <= most && rate !== details.known_rate);
  const usual = range ? [["", `${exact(details.known_rate)} (default)`], ["off", "off"]] : [["", "not available"]];
  fill($("known-rate"), [...usual, ...rates.map((rate) => [rate, exact(rate)])]);
  pick($("known-rate"), wanted);
  $("known-rate").disabled = !range;
  $("rate-help").textContent = rateWords(details, mode(), Boolean(range));
}

// Choose again what `options` were.
export async function restore(options) {
  const tag = options.model;
  if (tag && tag !== details.model && served.some((one) => one.model === tag)) {
    $("model").value = tag;
    await offer(tag);
  }
  for (const radio of document.querySelectorAll("#modes input")) {
    if (radio.value === options.tta && details.modes.includes(radio.value)) radio.checked = true;
  }
  offerOptions(options.known_rate ?? "");
  pick($("aggregate"), options.aggregate || "mean");
  pick($("coverage"), options.coverage ?? "");
}

// Those of the given options that the model does not offer, as "name=value".
export function notChosen(options) {
  const now = { ...chosen(), model: details.model };
  now.aggregate ||= "mean";
  now.known_rate ||= String(details.known_rate);
  return Object.entries(options)
    .filter(([name, value]) => value && now[name] !== value && !(now[name] && Number(now[name]) === Number(value)))
    .map(([name, value]) => `${name}=${value}`);
}

// The value, if it is offered; otherwise the first one.
function pick(select, value) {
  const offered = [...select.options].map((one) => one.value);
  const same = (one) => one === value || (one && Number(one) === Number(value));
  select.selectedIndex = Math.max(0, offered.findIndex(same));
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
