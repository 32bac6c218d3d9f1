// "Is this right?": what a person says about an answer goes to POST /feedback.

import { $ } from "../dom.js";
import { get } from "../api.js";
import { title } from "../words.js";
import { chosenClasses, fillChooser, namesOf } from "./chooser.js";

let entry = null;  // the one that is asked about
let again = null;
let tell = null;

// `taken`: the server says that it stores feedback. Without it nothing is asked. `sent` is called
// when the server has answered.
export function showFeedback(shown, taken, sent) {
  entry = shown;
  tell = sent;
  $("feedback").hidden = !taken;
  close();
  if (taken) draw();
}

function draw() {
  const { tta, said, sending } = entry;
  $("say-right").textContent = `Yes, ${rightWords(tta)}`;
  for (const [id, what] of [["say-right", "right"], ["say-wrong", "wrong"]]) {
    $(id).setAttribute("aria-pressed", String(said?.stored === true && said.kind === what));
  }
  $("feedback").setAttribute("aria-busy", String(Boolean(sending)));
  $("said").textContent = said?.text ?? "";
  $("said").classList.toggle("failed", said?.failed === true);
  $("say-again").hidden = !said?.failed || !again;
}

// Whether the answer itself was that no class fits.
const saysNone = (tta) => (tta.labels ? tta.labels.length === 0 : tta.unknown?.is_unknown === true);

function rightWords(tta) {
  if (saysNone(tta)) return tta.labels ? "none of the classes is in it" : "none of the classes";
  return title(tta);
}

function sayRight() {
  const { tta } = entry;
  if (saysNone(tta)) return send("right", { foreign: true }, "none of the classes is right");
  const ids = tta.labels ? tta.labels.map((one) => one.label) : [tta.label];
  return send("right", { label: ids.join(";") }, `${title(tta)} is right`);
}

function saveClass() {
  const ids = chosenClasses();
  const right = `${namesOf(ids)} ${ids.length > 1 ? "are" : "is"} right`;
  return send("wrong", { label: ids.join(";") }, right);
}

async function send(kind, more, words) {
  const about = entry;
  const { tta } = about;
  if (about.sending) return;  // buttons are not disabled meanwhile: they would lose the focus
  const body = JSON.stringify({ request_id: tta.request_id, ...more, answer: facts(tta) });
  about.sending = true;
  about.said = { kind, text: "Saving…" };
  draw();
  try {
    const stored = await get("feedback", { method: "POST", body, json: true });
    about.said = { kind: kindOf(stored, kind), stored: true, text: `Saved: ${words}. If that is wrong, choose again: the latest choice counts.` };
  } catch (error) {
    about.said = { kind, failed: true, text: `Not saved. ${error.message}` };
    again = error.passes || error.status === 401 ? () => send(kind, more, words) : null;
  }
  about.sending = false;
  tell();
  if (about !== entry) return;
  if (about.said.stored) leave();
  draw();
}

// Somebody may open the list and choose the class of the answer.
const kindOf = (stored, kind) => (stored.outcome === "unknown" ? kind : stored.outcome);

// The answer goes along for a server that no longer remembers it.
function facts({ model, label, labels, probability, precision, tta_applied: mode, unknown }) {
  const ids = labels?.map((one) => one.label);
  return { model, label, labels: ids, probability, precision, tta_applied: mode, unknown };
}

function open() {
  fillChooser(entry);
  $("chooser").hidden = false;
  $("say-wrong").setAttribute("aria-expanded", "true");
  $("find").focus();
}

function close() {
  $("chooser").hidden = true;
  $("say-wrong").setAttribute("aria-expanded", "false");
}

// Close the list; the keyboard goes on from the button that opened it.
function leave() {
  const inside = $("chooser").contains(document.activeElement);
  close();
  if (inside) $("say-wrong").focus();
}

$("say-right").addEventListener("click", sayRight);
$("say-wrong").addEventListener("click", () => ($("chooser").hidden ? open() : leave()));
$("say-none").addEventListener("click", () => send("wrong", { foreign: true }, "none of the classes is right"));
$("say-unsure").addEventListener("click", () => send("wrong", {}, "the answer is wrong, the right class is not known"));
$("say-again").addEventListener("click", () => again());
$("chooser").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("save-class").disabled) saveClass();
});
$("chooser").addEventListener("keydown", (event) => {
  if (event.key === "Escape") leave();
});
