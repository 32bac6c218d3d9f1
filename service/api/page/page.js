// The page: which photos are asked about, when, and what is shown.

import { $, plural } from "./scripts/dom.js";
import { readAddress, writeAddress } from "./scripts/address.js";
import { askBoth } from "./scripts/api.js";
import { showEntry } from "./scripts/answer.js";
import { showFeedback } from "./scripts/feedback/feedback.js";
import { clearComparison, compareAll } from "./scripts/compare.js";
import { isNoImage, newEntry } from "./scripts/entry.js";
import { showHeat } from "./scripts/heat.js";
import { remember } from "./scripts/history.js";
import { busy, complain, failed, halt, say } from "./scripts/notice.js";
import { chosen, loadModels, model, notChosen, offer, offerOptions, restore, takesFeedback } from "./scripts/options.js";
import { offerSamples } from "./scripts/samples.js";
import { besideInSheet, fillSheet, hideSheet, markCards } from "./scripts/sheet.js";
import { copy, showSnippets } from "./scripts/snippets.js";

let files = [];  // what is asked about
let current = null;  // the entry that is shown
let running = null;
let fresh = false;  // the photos were chosen just now

// Run `work`, and end what ran before it.
async function run(work, retry) {
  running?.abort();
  const mine = (running = new AbortController());
  busy(true);
  try {
    await work(mine.signal);
  } catch (error) {
    if (error.name !== "AbortError" && running === mine) complain(error, retry);
  } finally {
    if (running === mine) {
      busy(false);
      $("answer").removeAttribute("aria-busy");
    }
  }
}

function look() {
  if (!model()) return start();  // the description of the model has not arrived yet
  if (files.length === 1) return run(lookAtOne, look);
  if (files.length > 1) return run(lookAtMany, look);
}

// An option was changed.
function lookAgain() {
  writeAddress(chosen());
  return look();
}

function shrinkQuestions() {
  document.body.classList.add("answered");
  $("classes").open = false;
  $("intro").hidden = true;
}

async function lookAtOne(signal) {
  const entry = newEntry(files[0], chosen(), model());
  say(`Looking at ${entry.name}…`);
  $("answer").setAttribute("aria-busy", "true");  // the old answer stays, dimmed
  try {
    Object.assign(entry, await askBoth(entry.file, entry.options, signal));
  } catch (error) {
    if ([413, 415, 422].includes(error.status)) error.message = `${entry.name}: ${error.message}`;
    if (error.status === 404) await followServer(entry);  // it has other models now
    throw error;
  }
  if (entry.tta.model !== entry.model.model) await followServer(entry);
  if (signal.aborted) return;
  hideSheet();
  shrinkQuestions();
  open(entry);
  if (fresh) bringIntoView($("answer"));
  fresh = false;
  await remember(entry, goBackTo);
}

// The server has loaded other models since the page asked for their descriptions.
async function followServer(entry) {
  await loadAgain();
  entry.model = model();
}

async function lookAtMany(signal) {
  $("answer").hidden = true;
  shrinkQuestions();
  const filled = fillSheet(files, chosen(), model(), signal, say, reopen);
  if (fresh) bringIntoView($("sheet"));
  fresh = false;
  await filled;
  showPlace();
  say(`${plural(files.length, "photo")} done.`);
}

function open(entry) {
  current = entry;
  entry.url ??= URL.createObjectURL(entry.file);
  clearComparison();
  showEntry(entry);
  showFeedback(entry, takesFeedback(), showPlace);
  showPlace();
  showSnippets(entry);
  say($("what").textContent, false);
  showHeat(entry);
}

// Where the photo that is shown stands in the contact sheet.
function showPlace() {
  markCards(current);
  const steps = [...$("steps").querySelectorAll("button")];
  for (const button of steps) button.disabled = !besideInSheet(current, Number(button.dataset.step));
  $("steps").hidden = steps.every((button) => button.disabled);
}

// On a phone the answer lies below the options.
function bringIntoView(node) {
  if (node.getBoundingClientRect().top > 0.7 * innerHeight) node.scrollIntoView({ block: "start" });
}

function reopen(entry) {
  open(entry);
  $("answer").removeAttribute("aria-busy");
  $("answer").scrollIntoView({ block: "start" });
  $("what").focus({ preventScroll: true });  // so that Tab goes on from there
}

// From the history: later changes of options ask about this photo again.
function goBackTo(entry) {
  running?.abort();
  files = [entry.file];
  hideSheet();
  reopen(entry);
  run(async () => {
    await restore(entry.options);
    writeAddress(chosen());
  });
}

function take(given) {
  const list = [...given];
  if (!list.length) return;
  if (list.every(isNoImage)) {
    complain(new Error(`${list.map((file) => file.name || "That").join(", ")} is not an image.`));
    return;
  }
  files = list;
  fresh = true;
  look();
}

function takeDropped(dropped) {
  if (dropped.length) take(dropped);
  else complain(new Error("No file was dropped. Save the picture first; the server does not fetch addresses."));
}

async function loadAgain() {
  const options = chosen();
  await loadModels();
  await restore(options);
}

async function restoreAddress() {
  const options = readAddress();
  if (!options) return;
  await restore(options);
  writeAddress(chosen());
  const lost = notChosen(options);
  if (lost.length) complain(new Error(`${model().model} has no ${lost.join(", ")}, which the address names`));
}

function start() {
  return run(async (signal) => {
    say(files.length ? "Waiting for the server…" : "");
    await loadModels(signal);
    await restoreAddress();
    if (signal.aborted) return;
    look();
  }, start);
}

$("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";  // so that the same photo can be chosen again
});
$("modes").addEventListener("change", () => {
  if (!model()) return;  // `start` offers its options when it knows the model
  offerOptions();
  lookAgain();
});
for (const id of ["aggregate", "coverage", "known-rate"]) $(id).addEventListener("change", lookAgain);
$("model").addEventListener("change", () => run(async () => {
  await offer($("model").value);
  lookAgain();
}));
addEventListener("hashchange", () => {
  if (!model()) {
    start();  // it reads the new address
    return;
  }
  run(async () => {
    await restoreAddress();
    look();
  });
});
// A photo whose answer is shown is not asked about again.
$("key").addEventListener("change", () => (model() && !failed() ? run(loadAgain, loadAgain) : start()));
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("show-heat").addEventListener("change", () => showHeat(current));
$("show-crops").addEventListener("change", (event) => {
  $("pair").classList.toggle("no-crops", !event.target.checked);
});
for (const button of $("steps").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    const beside = besideInSheet(current, Number(button.dataset.step));
    if (beside) reopen(beside);
  });
}
$("filter").addEventListener("change", showPlace);
$("again-failed").addEventListener("click", look);
$("stop").addEventListener("click", () => {
  running?.abort();
  halt(files.length ? look : start);
});
$("compare-all").addEventListener("click", () => {
  run(async (signal) => {
    await compareAll(current, signal, say);
    say("All modes are compared.", false);
  });
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    say(await copy(button.dataset.copy) ? "Copied." : "The text is selected: copy it with Ctrl+C.");
  });
}
document.addEventListener("paste", (event) => take(event.clipboardData.files));
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", kind === "dragover");
    if (kind === "drop") takeDropped(event.dataTransfer.files);
  });
}
offerSamples(take);
start();
