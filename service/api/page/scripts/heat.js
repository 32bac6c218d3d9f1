// The heat map: where the photo shows the class of the answer.

import { $, percent } from "./dom.js";
import { ask } from "./api.js";
import { complain } from "./notice.js";

let running = null;

// It takes a pass of its own, so it is asked for apart: the times of the answer stay honest.
export async function showHeat(entry) {
  running?.abort();
  running = new AbortController();
  $("heat").hidden = $("legend").hidden = true;
  if (!entry || !$("show-heat").checked || $("heat-field").hidden) return;
  try {
    if (!entry.heat) {
      const options = { ...entry.options, include: "heatmap" };
      const answer = await ask(entry.file, options, running.signal);
      entry.heat = { ...answer.heatmap, name: answer.name };
    }
    draw(entry);
  } catch (error) {
    if (error.name !== "AbortError") complain(error, () => showHeat(entry));
  }
}

function draw(entry) {
  $("heat").src = `data:image/png;base64,${entry.heat.png_base64}`;
  $("heat").alt = `Heat map of ${entry.heat.name}`;
  $("legend-name").textContent = `Where it looks like ${entry.heat.name}:`;
  $("legend-peak").textContent = `${percent(entry.heat.peak)} (not calibrated)`;
  $("heat").hidden = $("legend").hidden = false;
}
