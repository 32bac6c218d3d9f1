// The line that says what goes on, what went wrong, and that the server is gone or back.

import { $ } from "./dom.js";
import { serverLives } from "./api.js";

const POLL_MS = 2000;
let again = null;
let waiting = null;

// `seen` is false where the page shows the same words elsewhere: then only screen readers get them.
export function say(text, seen = true) {
  $("status").textContent = text;
  $("status").classList.toggle("hidden", !seen);
  $("notice").classList.remove("bad");
  $("retry").hidden = true;
}

// `retry` is what the button does, where the same request may succeed later.
export function complain(error, retry = null) {
  const below = $("answer").hidden ? "" : ` Below is the answer for ${$("answer").dataset.photo}.`;
  const message = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
  $("status").textContent = message + below;
  $("status").classList.remove("hidden");
  $("notice").classList.add("bad");
  again = retry;
  $("retry").hidden = retry === null || error.passes === false;
  if (error.gone) waitForServer();
}

// What ran was stopped; `retry` goes on with it.
export function halt(retry) {
  say("Stopped.");
  again = retry;
  $("retry").hidden = false;
  $("retry").focus();
}

// Whether an error is shown.
export const failed = () => $("notice").classList.contains("bad");

function waitForServer() {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    if (!failed()) return;
    if (!await serverLives()) return waitForServer();
    say("The server is back.");
    again?.();
  }, POLL_MS);
}

export function busy(on) {
  if (on) document.body.setAttribute("aria-busy", "true");
  else document.body.removeAttribute("aria-busy");
  $("stop").hidden = !on;
  $("compare-all").disabled = on;  // other requests would spoil its times
}

$("retry").addEventListener("click", () => again?.());
