// The heat map: where the photo shows the class of the answer.

import { $, percent } from "./dom.js";
import { ask } from "./api.js";

// It takes a pass of its own, so it is asked for apart: the times of the answer stay honest.
export async function showHeat(entry, signal) {
  const wanted = $("show-heat").checked && !$("heat-field").hidden;
  $("heat").hidden = $("legend").hidden = true;
  if (!wanted || !entry) return;
  if (!entry.heat) {
    const answer = await ask(entry.file, { ...entry.options, include: "heatmap" }, signal);
    entry.heat = { ...answer.heatmap, name: answer.name };
  }
  $("heat").src = `data:image/png;base64,${entry.heat.png_base64}`;
  $("heat").alt = `Heat map of ${entry.heat.name}`;
  $("legend-name").textContent = `Where it looks like ${entry.heat.name}:`;
  $("legend-peak").textContent = percent(entry.heat.peak);
  $("heat").hidden = $("legend").hidden = false;
}
