// The same question from code: as curl and as Python.

import { $ } from "./dom.js";

const NUMBERS = new Set(["coverage", "known_rate"]);
const PLAIN_NAME = /^[\w][\w .-]*$/;
const shell = (text) => (/^[\w.@/:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function showSnippets({ name, options }) {
  const server = new URL(".", location.href).href.replace(/\/$/, "");
  const file = PLAIN_NAME.test(name) ? name : "photo.jpg";
  const given = Object.entries(options).filter(([, value]) => value);
  const key = !$("key-field").hidden;
  const query = new URLSearchParams(given);
  $("curl").textContent = [
    `curl -F ${shell(`image=@${file}`)}`,
    key ? " -H \"Authorization: Bearer $KEY\"" : "",
    ` \\\n    ${shell(`${server}/classify?${query}`)}`,
  ].join("");
  const keywords = given.map(([option, value]) =>
    `, ${option}=${NUMBERS.has(option) && value !== "off" ? value : JSON.stringify(value)}`).join("");
  $("python").textContent = [
    ...(key ? ["import os", ""] : []),
    "import quincunx",
    "",
    `client = quincunx.Client(${JSON.stringify(server)}${key ? ", key=os.environ[\"KEY\"]" : ""})`,
    `answer = client.classify(${JSON.stringify(file)}${keywords})`,
    "print(answer.name, answer.probability)",
  ].join("\n");
}

// `navigator.clipboard` exists on https and localhost only; elsewhere the text is selected and copied.
export async function copy(id) {
  const text = $(id).textContent;
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // not allowed: try the other way
    }
  }
  const range = document.createRange();
  range.selectNodeContents($(id));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  return document.execCommand("copy");
}
