// One entry in full: both modes side by side, what happened, classes, views and times.

import { $, element, ownTime, percent, whole } from "./dom.js";
import { cap, differ, firstPicture, MODES, shownName, terms, title, unknownReason, unknownWords, whatHappened } from "./words.js";
import { showSeen, showViews } from "./views.js";

const UNREADABLE = "The browser cannot show this format; the server can read it.";
const TURNED = "The browser does not turn this photo upright, as the server does.";
const ALIKE = 0.03;  // a relative difference of two ratios that rounding explains

export function showEntry(entry) {
  const { model, single, tta } = entry;
  const alone = tta.tta_applied === "none";
  $("answer").hidden = false;
  $("answer").dataset.photo = entry.name;
  $("what").textContent = whatHappened(entry);
  $("words").textContent = terms(tta) + firstPicture(entry.file);
  $("mode-used").textContent = cap(MODES[tta.tta_applied].name);
  $("bars-mode").textContent = MODES[tta.tta_applied].name;
  $("pair").classList.toggle("alone", alone);
  $("work").classList.toggle("changed", differ(single, tta));
  $("single").hidden = alone;
  panel($("single"), entry, single);
  panel($("chosen"), entry, tta);
  showSeen($("single").querySelector(".crops"), single.views);
  showViews(tta);
  showUnknown(tta, model);
  showSet(tta, entry.options.coverage);
  const confidence = tta.calibrated ? "" : ", confidence not calibrated";
  $("model-used").textContent = `${tta.model}, ${tta.precision}${confidence}`;
  showBars(single, tta);
  showTimes(alone ? [tta] : [single, tta]);
}

function panel(figure, { name, url }, answer) {
  const { width_px: width, height_px: height } = answer.image;
  const frame = figure.querySelector(".frame");
  const picture = frame.querySelector("img");
  figure.style.setProperty("--ratio", width / height);
  frame.classList.remove("unseen");
  const hide = (why) => {
    frame.dataset.why = why;
    frame.classList.add("unseen");
  };
  picture.onerror = () => hide(UNREADABLE);
  picture.onload = () => {  // crops would lie in the wrong places
    const shown = picture.naturalWidth / picture.naturalHeight;
    if (Math.abs(shown / (width / height) - 1) > ALIKE) hide(TURNED);
  };
  picture.src = url;
  picture.alt = `The photo ${name}`;
  figure.querySelector(".facts").textContent = `cost ${answer.cost.toFixed(1)} crops`;
  figure.querySelector(".verdict strong").textContent = title(answer);
  figure.querySelector(".verdict .percent").textContent = percent(answer.probability);
}

function showUnknown(answer, model) {
  const unknown = answer.unknown;
  $("unknown").hidden = !unknown?.is_unknown;
  if (!unknown?.is_unknown) return;
  $("unknown").replaceChildren(
    element("strong", { textContent: unknownWords(answer, model.labels.length) }), unknownReason(unknown));
}

function showSet(answer, coverage) {
  const set = answer.prediction_set_classes;
  $("set").hidden = !set;
  if (!set) return;
  const names = set.map((one) => shownName(one, set)).join(", ");
  $("set").replaceChildren(`Prediction set, right in ${whole(coverage)} of photos: `,
    element("strong", { textContent: names }));
}

function showBars(single, tta) {
  const before = new Map(single.predictions.map((one) => [one.label, one.probability]));
  const rows = tta.predictions.map((one) =>
    element("tr", {},
      element("th", { scope: "row", textContent: shownName(one, tta.predictions), title: one.label }),
      bar(before.get(one.label), "one", single.predictions.length), bar(one.probability, "tta")),
  );
  $("bars").tBodies[0].replaceChildren(...rows);
}

function bar(value, kind, listed) {
  if (value === undefined) {
    return element("td", {}, element("span", { className: "percent", textContent: `not in the top ${listed}` }));
  }
  const rod = element("span", { className: `bar ${kind}` });
  rod.style.width = `${Math.max(0.5, 100 * value)}%`;
  const track = element("span", { className: "track" }, rod);
  return element("td", {}, track, element("span", { className: "percent", textContent: percent(value) }));
}

function showTimes(answers) {
  const rows = answers.map((answer) => {
    const time = answer.timing_ms;
    const parts = [time.decode, time.prepare + time.finish, time.inference, ownTime(time)];
    const cells = parts.map((ms) => ms.toFixed(1));
    cells.push(answer.passes, answer.cost.toFixed(2));
    return element("tr", {}, element("th", { scope: "row", textContent: MODES[answer.tta_applied].name }),
      ...cells.map((text) => element("td", { textContent: text })));
  });
  $("times").tBodies[0].replaceChildren(...rows);
}
