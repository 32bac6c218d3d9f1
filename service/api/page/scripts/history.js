// What was asked in this tab, newest first. Nothing is stored.

import { $, element, percent } from "./dom.js";
import { forget, makeThumb } from "./entry.js";
import { differ, MODES, title } from "./words.js";

const KEPT = 24;
const entries = [];

export async function remember(entry, open) {
  await makeThumb(entry);
  const same = entries.findIndex((one) => one.file === entry.file && one.tta.tta_requested === entry.tta.tta_requested);
  const dropped = same >= 0 ? entries.splice(same, 1) : [];
  entries.unshift(entry);
  for (const old of [...dropped, ...entries.splice(KEPT)]) forget(old);
  draw(open);
}

function draw(open) {
  const items = entries.map((entry) => {
    const picture = entry.thumb
      ? element("img", { src: entry.thumb, alt: "" })
      : element("span", { className: "no-picture", textContent: "no preview" });
    const button = element("button", { type: "button", className: "tile" }, picture,
      element("span", { className: "file", textContent: entry.name }),
      element("span", {}, element("strong", { textContent: title(entry.tta) }), " ",
        element("span", { className: "percent", textContent: percent(entry.tta.probability) })),
      element("span", { className: "small", textContent: MODES[entry.tta.tta_requested].name }));
    if (differ(entry.single, entry.tta)) {
      button.append(element("span", { className: "badge", textContent: "changed" }));
    }
    button.addEventListener("click", () => open(entry));
    return element("li", {}, button);
  });
  $("history").querySelector("ol").replaceChildren(...items);
  $("history").hidden = entries.length < 2;
}
