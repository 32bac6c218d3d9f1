// All modes on one photo, in one table: a warm-up, then the modes in turn.

import { $, element, median, ownTime, percent } from "./dom.js";
import { ask } from "./api.js";
import { MODES, title } from "./words.js";

const ROUNDS = 5;

export function clearComparison() {
  $("compared").hidden = true;
}

export async function compareAll(entry, signal, progress) {
  const { model } = entry;
  const modes = Object.keys(MODES).filter((mode) => model.modes.includes(mode));
  const asked = (mode) => {
    const own = model.mode_options.find((one) => one.mode === mode);
    const aggregate = own.aggregates.includes(entry.options.aggregate) ? entry.options.aggregate : "";
    return ask(entry.file, { ...entry.options, coverage: "", known_rate: "", aggregate, tta: mode }, signal);
  };
  const answers = Object.fromEntries(modes.map((mode) => [mode, []]));
  for (let round = 0; round <= ROUNDS; round += 1) {
    progress(round ? `Round ${round} of ${ROUNDS}…` : "Warming up…");
    for (const mode of modes) {
      const answer = await asked(mode);
      if (round) answers[mode].push(answer);
    }
  }
  show(modes.map((mode) => answers[mode]));
}

function show(all) {
  const time = (answers) => median(answers.map((one) => ownTime(one.timing_ms)));
  const single = all.find(([one]) => one.tta_applied === "none")?.[0];
  const longest = Math.max(...all.map(time));
  const rows = all.map((answers) => {
    const [one] = answers;
    const changed = single && title(one) !== title(single);
    const rod = element("span", { className: "bar tta" });
    rod.style.width = `${Math.max(1, 100 * time(answers) / longest)}%`;
    const answer = element("td", { textContent: title(one) });
    if (changed) answer.append(" ", element("span", { className: "badge", textContent: "changed" }));
    return element("tr", {},
      element("th", { scope: "row", textContent: MODES[one.tta_requested].name }), answer,
      element("td", { textContent: percent(one.probability) }),
      element("td", { textContent: one.cost.toFixed(2) }),
      element("td", {}, element("span", { className: "track" }, rod), time(answers).toFixed(1)));
  });
  $("compared").tBodies[0].replaceChildren(...rows);
  $("compared").hidden = false;
  const decode = median(all.flat().map((one) => one.timing_ms.decode));
  $("compare-note").textContent = "* Median of five runs in turn, after a warm-up. Decoding is left out: " +
    `it takes ${decode.toFixed(1)} ms in every mode. "changed": another answer than the single crop's.`;
}
