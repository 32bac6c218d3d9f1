// Requests to the server, and its errors in words.

import { $ } from "./dom.js";

const COMPARED = 100;  // more classes than are shown: those of the other mode should be among them

// `status` is that of the answer: 0 where none came. `gone` means that the server answers nothing.
// `afterS` is the time in seconds that a busy server asks to wait.
export class Problem extends Error {
  constructor(message, status = 0, { gone = false, afterS = 1 } = {}) {
    super(message);
    Object.assign(this, { status, gone, afterS });
  }

  // Whether the same request may succeed later.
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

function headers(json) {
  const key = $("key").value;
  return { ...(key && { Authorization: `Bearer ${key}` }), ...(json && { "Content-Type": "application/json" }) };
}

// `json`: the body is JSON.
export async function get(path, { json = false, ...more } = {}) {
  let response;
  try {
    response = await fetch(path, { ...more, headers: headers(json) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A file that changed on the disk after it was chosen fails in the same way.
    throw await serverLives()
      ? new Problem("The request failed. If the file was changed or moved, choose it again.")
      : new Problem("The server does not answer. It was stopped, or the network is down. " +
          "Start it with: quincunx serve. This page goes on when it is back.", 0, { gone: true });
  }
  if (response.status === 401) showKey();
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    const afterS = Number(response.headers.get("Retry-After")) || 1;
    throw new Problem(words(response, body), response.status, { afterS });
  }
  if (body === null) throw new Problem("The answer is not JSON. Is this address a Quincunx server?", response.status);
  return body;
}

function showKey() {
  $("key-field").hidden = false;
  $("key").focus();
}

function words(response, body) {
  const said = body?.error?.message;
  if (response.status === 401) return $("key").value ? "The server does not know this key." : "This server asks for a key.";
  if (response.status === 429) {
    return `The server is busy. Try again in ${response.headers.get("Retry-After") ?? "a few"} s.`;
  }
  if (said) return said;
  return `Something between this page and the server answered with ${response.status}.`;
}

export async function serverLives() {
  try {
    return (await fetch("livez")).ok;
  } catch {
    return false;
  }
}

// One photo, one mode. `options` are those of the query; empty ones are left out.
export function ask(file, options, signal) {
  const given = Object.entries(options).filter(([, value]) => value);
  const query = new URLSearchParams({ include: "views,timing", ...Object.fromEntries(given) });
  const body = new FormData();
  body.append("image", file, "photo");
  return get(`classify?${query}`, { method: "POST", body, signal });
}

// The single crop and then the chosen mode: in turn, so that neither slows the other.
export async function askBoth(file, options, signal) {
  if (options.tta === "none") {
    const tta = await ask(file, options, signal);
    return { single: tta, tta };
  }
  const { coverage, aggregate, known_rate: knownRate, ...plain } = options;
  const single = await ask(file, { ...plain, tta: "none", top_k: COMPARED }, signal);
  const tta = await ask(file, options, signal);
  return { single, tta };
}
