// Several photos as a contact sheet, with a filter for those whose answer changed.

import { $, element, percent, plural } from "./dom.js";
import { askBoth } from "./api.js";
import { forget, isNoImage, makeThumb, newEntry } from "./entry.js";
import { cap, differ, MODES, title } from "./words.js";

const KINDS = {
  all: { name: "all", has: () => true },
  changed: { name: "changed", has: (one) => one.tta && differ(one.single, one.tta) },
  again: { name: "looked again", has: (one) => one.tta?.gate_open },
  unknown: { name: "unknown", has: (one) => one.tta?.unknown?.is_unknown },
  failed: { name: "failed", has: (one) => one.error },
};
const TRIES = 5;
const LONGEST_PAUSE_S = 20;
let shown = "all";
let entries = [];

// Ask for every photo in turn. A photo that fails is shown with its error; the others go on. Asked
// again with the same options, only the photos without an answer are asked.
export async function fillSheet(files, options, model, signal, progress, open) {
  if (!sameQuestion(files, options)) {
    entries.forEach(forget);
    entries = files.map((file) => newEntry(file, options, model));
    shown = "all";
  }
  $("sheet").hidden = false;
  $("again-failed").hidden = true;
  $("cards").replaceChildren();
  summarize([], options);
  for (const [index, entry] of entries.entries()) {
    if (!entry.tta) {
      progress(`Photo ${index + 1} of ${entries.length}…`);
      await fillEntry(entry, signal);
    }
    $("cards").append(card(entry, open));
    summarize(entries.slice(0, index + 1), options);
  }
  $("again-failed").hidden = !entries.some((entry) => entry.error && entry.passes);
}

function sameQuestion(files, options) {
  const asked = JSON.stringify(options);
  return files.length === entries.length &&
    entries.every((entry, index) => entry.file === files[index] && JSON.stringify(entry.options) === asked);
}

async function fillEntry(entry, signal) {
  entry.error = null;
  if (isNoImage(entry.file)) {
    entry.error = "This is not an image.";
    return;
  }
  await makeThumb(entry);
  try {
    Object.assign(entry, await patiently(() => askBoth(entry.file, entry.options, signal), signal));
  } catch (error) {
    if (error.name === "AbortError" || error.gone || error.status === 401) throw error;
    Object.assign(entry, { error: error.message, passes: error.passes });
  }
}

// A busy server says when to ask again.
async function patiently(work, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (![429, 503].includes(error.status) || tries === TRIES) throw error;
      await pause(Math.min(error.afterS, LONGEST_PAUSE_S));
      signal.throwIfAborted();
    }
  }
}

const pause = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });

export function hideSheet() {
  $("sheet").hidden = true;
}

// The answered photo before (-1) or after (1) `entry` among those that the filter shows; undefined
// if there is none.
export function besideInSheet(entry, step) {
  const listed = (one) => one === entry || !one.tile?.closest("li").hidden;
  const answered = $("sheet").hidden ? [] : entries.filter((one) => one.tta && listed(one));
  const place = answered.indexOf(entry);
  return place < 0 ? undefined : answered[place + step];
}

// Mark the card of the photo that is shown, and what was said about it.
export function markCards(shown) {
  for (const entry of entries) {
    const { tile, said } = entry;
    if (!tile) continue;
    tile.setAttribute("aria-current", String(entry === shown));
    tile.querySelector(".said")?.remove();
    if (said?.stored) tile.append(element("span", { className: "badge said", textContent: `said: ${said.kind}` }));
  }
}

function card(entry, open) {
  const picture = entry.thumb
    ? element("img", { src: entry.thumb, alt: "" })
    : element("span", { className: "no-picture", textContent: "no preview" });
  const item = element("li", {});
  item.dataset.kinds = Object.keys(KINDS).filter((kind) => KINDS[kind].has(entry)).join(" ");
  const file = element("span", { className: "file", textContent: entry.name });
  if (entry.error) {
    item.append(element("div", { className: "tile" }, picture, file,
      element("span", { className: "failed", textContent: entry.error })));
    return item;
  }
  const { single, tta } = entry;
  const changed = differ(single, tta);
  const button = element("button", { type: "button", className: "tile" }, picture, file);
  if (changed) button.append(element("s", { textContent: title(single) }));
  button.append(element("span", {}, element("strong", { textContent: title(tta) }), " ",
    element("span", { className: "percent", textContent: percent(tta.probability) })));
  if (changed) button.append(element("span", { className: "badge", textContent: "changed" }));
  if (tta.unknown?.is_unknown) button.append(element("span", { className: "badge odd", textContent: "unknown" }));
  button.addEventListener("click", () => open(entry));
  entry.tile = button;
  item.append(button);
  return item;
}

function summarize(done, options) {
  const answered = done.filter((one) => one.tta);
  const cost = answered.reduce((sum, one) => sum + one.tta.cost, 0) / Math.max(1, answered.length);
  const changed = done.filter(KINDS.changed.has).length;
  $("sheet-summary").textContent = `${plural(done.length, "photo")}. ` +
    `${cap(MODES[options.tta].name)} changed ${plural(changed, "answer")} of the single crop` +
    ` at a mean cost of ${cost.toFixed(2)} crops. Choose a photo to see it in full.`;
  showFilter(done);
}

function showFilter(done) {
  const focused = $("filter").contains(document.activeElement);
  const pills = Object.entries(KINDS).map(([kind, { name, has }]) => {
    const count = done.filter(has).length;
    const input = element("input", { type: "radio", name: "kind", value: kind, checked: kind === shown });
    input.addEventListener("change", () => filter(kind));
    const label = element("label", { hidden: !count && kind !== "all" && kind !== "changed" }, input,
      element("span", { textContent: `${name} (${count})` }));
    return label;
  });
  $("filter").replaceChildren($("filter").querySelector("legend"), ...pills);
  if (focused) $("filter").querySelector("input:checked").focus();
  filter(shown);
}

function filter(kind) {
  shown = kind;
  for (const item of $("cards").children) item.hidden = !item.dataset.kinds.split(" ").includes(kind);
}
