// The page: one photo, asked for twice (single crop and the chosen mode), drawn side by side.

const $ = (id) => document.getElementById(id);
const CORNERS = ["tl", "tr", "bl", "br", "centre"];
const COMPARED = 100;
const NAMES = ["top left", "top right", "bottom left", "bottom right", "centre"];
const MODES = Object.fromEntries(
  [...document.querySelectorAll("#modes input")].map((input) => [
    input.value,
    input.nextElementSibling.textContent,
  ]),
);

let photo = null;
let running = null;
let url = null;
let heat = null;
let served = [];

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function element(kind, properties = {}, ...children) {
  const node = Object.assign(document.createElement(kind), properties);
  node.append(...children);
  return node;
}

const percent = (value) => `${(100 * value).toFixed(1)}%`;
const chosenMode = () => document.querySelector("#modes input:checked").value;

function headers() {
  const key = $("key").value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function ask(tta, include, signal, more = {}) {
  const query = new URLSearchParams({ tta, include, ...more });
  if ($("model").value) query.set("model", $("model").value);
  const body = new FormData();
  body.append("image", photo, "photo");
  const response = await fetch(`classify?${query}`, { method: "POST", body, signal, headers: headers() });
  const answer = await response.json();
  if (response.status === 401) $("key-field").hidden = false;
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

async function classify() {
  if (!photo) return;
  running?.abort();
  const mine = (running = new AbortController());
  say("Looking…");
  document.body.setAttribute("aria-busy", "true");
  try {
    const mode = chosenMode();
    // More classes than are shown: those of the other mode should be among them.
    const single = await ask("none", "views,timing", mine.signal, { top_k: COMPARED });
    const tta = await ask(mode, "views,timing", mine.signal);
    if (mine.signal.aborted) return;
    show(single, tta);
    await showHeat();
    say(`${title(tta)}, ${percent(tta.probability)}`);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  } finally {
    if (running === mine) document.body.removeAttribute("aria-busy");
  }
}

function show(single, tta) {
  $("answer").hidden = false;
  $("stage").classList.add("answered");
  $("name").textContent = title(tta);
  $("probability").textContent = percent(tta.probability);
  const degraded = tta.tta_applied === tta.tta_requested ? "" : " (busy: asked for " + MODES[tta.tta_requested] + ")";
  const confidence = tta.calibrated ? "" : ", confidence not calibrated";
  $("model-used").textContent = `${tta.model}, ${tta.precision}${confidence}`;
  $("mode-used").textContent = MODES[tta.tta_applied] + degraded;
  showBars(single, tta);
  showTimes(single, tta);
  showViews(tta.views, tta.gate_open);
}

// A multi-label model answers with every label above its threshold, which may be none.
function title(answer) {
  if (!answer.labels) return answer.name;
  const names = answer.labels.map((p) => shownName(p, answer.labels));
  return names.join(", ") || `none; likeliest ${answer.name}`;
}

// Two classes may have one name, as ImageNet's cranes: their ids tell them apart.
function shownName(one, all) {
  const alike = all.filter((p) => p.name === one.name).length;
  return alike > 1 ? `${one.name} (${one.label})` : one.name;
}

function showBars(single, tta) {
  const before = new Map(single.predictions.map((p) => [p.label, p.probability]));
  const rows = tta.predictions.map((p) =>
    element("tr", {},
      element("th", { scope: "row", textContent: shownName(p, tta.predictions), title: p.label }),
      bar(before.get(p.label), "single"), bar(p.probability, "tta")),
  );
  $("bars").tBodies[0].replaceChildren(...rows);
}

function bar(value, kind) {
  const cell = element("td");
  if (value === undefined) {
    cell.append(element("span", { className: "percent", textContent: `not in the top ${COMPARED}` }));
    return cell;
  }
  const rod = element("span", { className: `bar ${kind}` });
  rod.style.width = `${Math.max(0.5, 100 * value)}%`;
  cell.append(rod, element("span", { className: "percent", textContent: percent(value) }));
  return cell;
}

function showTimes(single, tta) {
  const row = (name, answer) => {
    const t = answer.timing_ms;
    const numbers = [t.decode, t.queue, t.inference, t.total].map((ms) => ms.toFixed(1));
    return element("tr", {}, element("th", { scope: "row", textContent: name }),
      ...[...numbers, answer.passes].map((text) => element("td", { textContent: text })));
  };
  const rows = [row("single crop", single), row(MODES[tta.tta_applied], tta)];
  $("times").tBodies[0].replaceChildren(...rows);
}

// Which of NAMES a box is: by where its middle lies, since modes differ in how many views they show.
function placeOf([left, top, right, bottom]) {
  const across = left + right - 1;
  const down = top + bottom - 1;
  if (Math.hypot(across, down) < 0.02) return 4;
  return (down > 0 ? 2 : 0) + (across > 0 ? 1 : 0);
}

// Where a gate opened, the first view is that of the pass before it.
function showViews(views, gateOpen) {
  const boxes = [];
  const items = views.map((view, index) => {
    const [left, top, right, bottom] = view.box;
    const place = placeOf(view.box);
    const box = element("div", { className: "crop" });
    box.style.setProperty("--colour", `var(--crop-${place})`);
    box.style.left = percent(left);
    box.style.top = percent(top);
    box.style.width = percent(right - left);
    box.style.height = percent(bottom - top);
    const again = views.slice(index + 1, 5).some((later) => placeOf(later.box) === place);
    if (index < 5 && !again) {
      const label = element("span", { className: CORNERS[place], textContent: view.name });
      label.style.maxWidth = percent(Math.min(0.95, 0.46 / (right - left)));  // half the photo
      box.append(label);
    }
    boxes.push(box);
    const where = (gateOpen && index === 0 ? "first pass, " : "") +
      (right - left + bottom - top < 2 ? NAMES[place] : "whole") + (view.flip ? ", mirrored" : "");
    const button = element("button", { type: "button" },
      element("i"), `${where}: ${view.name}`,
      element("span", { className: "percent", textContent: percent(view.probability) }));
    button.style.setProperty("--colour", `var(--crop-${place})`);
    button.setAttribute("aria-pressed", "false");
    const pick = (on) => {
      $("frame").classList.toggle("picking", on);
      box.classList.toggle("picked", on);
      button.setAttribute("aria-pressed", String(on));
    };
    for (const start of ["mouseenter", "focus"]) button.addEventListener(start, () => pick(true));
    for (const end of ["mouseleave", "blur"]) button.addEventListener(end, () => pick(false));
    return element("li", {}, button);
  });
  $("crops").replaceChildren(...boxes);
  $("frame").classList.remove("picking");
  $("views").replaceChildren(...items);
}

// The heat map takes a pass of its own, so it is asked for apart: the times above stay honest.
async function showHeat() {
  const wanted = $("show-heat").checked && !$("heat-field").hidden;
  if (wanted && photo && !heat) {
    const answer = await ask("none", "heatmap", running.signal);
    heat = `data:image/png;base64,${answer.heatmap.png_base64}`;
    $("heat").src = heat;
  }
  $("heat").hidden = !(wanted && heat);
}

function take(file) {
  if (!file) return;
  // A browser knows no type for some suffixes and for none: then the server looks at the bytes.
  if (file.type && !file.type.startsWith("image/")) {
    say(`${file.name || "That"} is no image.`, true);
    return;
  }
  photo = file;
  if (url) URL.revokeObjectURL(url);
  url = URL.createObjectURL(file);
  $("picture").src = url;
  $("heat").hidden = true;
  heat = null;
  $("crops").replaceChildren();
  $("answer").hidden = true;
  for (const id of ["frame", "under"]) $(id).hidden = false;
  $("drop").hidden = true;
  document.querySelector("#photo").append($("file"));  // hidden, but still within reach of Tab
  classify();
}

async function start() {
  const response = await fetch("models", { headers: headers() });
  if (response.status === 401) {
    $("key-field").hidden = false;
    say("This server asks for a key.");
    return;
  }
  served = (await response.json()).models;
  $("model").replaceChildren(...served.map((m) => element("option", { value: m.model, textContent: m.model })));
  $("model-field").hidden = served.length < 2;
  const best = served.find((m) => m.default);
  offer(best);
  choose(best.default_tta);
}

// Only what the chosen model can answer is offered: its modes, and a heat map.
function offer(model) {
  for (const input of document.querySelectorAll("#modes input")) {
    input.closest("label").hidden = !model.modes.includes(input.value);
  }
  $("heat-field").hidden = !model.heatmap;
  if (!model.modes.includes(chosenMode())) choose(model.default_tta);
}

function choose(mode) {
  const radio = document.querySelector(`#modes input[value="${mode}"]`);
  if (radio) radio.checked = true;
}

$("file").addEventListener("change", (event) => take(event.target.files[0]));
$("modes").addEventListener("change", classify);
$("model").addEventListener("change", () => {
  heat = null;
  offer(served.find((m) => m.model === $("model").value));
  classify();
});
$("key").addEventListener("change", () => start().then(classify));
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("show-heat").addEventListener("change", () => showHeat().catch((error) => say(error.message, true)));
$("show-crops").addEventListener("change", (event) => {
  $("frame").classList.toggle("no-crops", !event.target.checked);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
start().catch((error) => say(error.message, true));
