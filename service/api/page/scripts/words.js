// What the page says about modes and answers, in plain words.

import { exact, plural, whole } from "./dom.js";

export const MODES = {
  none: {
    name: "single crop",
    help: "One square crop from the middle of the photo: the cheapest mode. Its cost is the unit: 1 crop.",
  },
  adaptive: {
    name: "adaptive",
    help: "One crop first. If its answer is not sure enough, the gate opens: a second pass looks again, " +
      "and both answers are combined.",
  },
  dense: {
    name: "dense",
    help: "One pass over the whole photo, of which five windows are read: four corners and the centre. " +
      "It costs much less than five crops.",
  },
  centre_dense: {
    name: "centre and dense",
    help: "The centre crop and the dense pass over the whole photo, always both. Their answers are combined.",
  },
  five_crop: {
    name: "five crops",
    help: "Four corner crops and the centre crop, each on its own. Their answers are combined. It costs 5 crops.",
  },
  ten_crop: {
    name: "ten crops",
    help: "The five crops and their mirror images. Their answers are combined. It costs 10 crops.",
  },
};

export const AGGREGATES = {
  mean: "mean of probabilities",
  max: "best view of each class",
  gmean: "geometric mean",
  logit_mean: "mean of logits",
  weighted: "fitted weights",
};

export const cap = (text) => text[0].toUpperCase() + text.slice(1);
const NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split(" ");
const inWords = (count) => NUMBERS[count] ?? count.toLocaleString("en");

// Two classes may have one name, as ImageNet's cranes: their ids tell them apart.
export function shownName(one, all) {
  const alike = all.filter((other) => other.name === one.name).length;
  return alike > 1 ? `${one.name} (${one.label})` : one.name;
}

// A multi-label model answers with every label above its threshold, which may be none.
export function title(answer) {
  if (!answer.labels) return shownName(answer, answer.predictions);
  const names = answer.labels.map((one) => shownName(one, answer.labels));
  return names.join(", ") || `none; likeliest ${answer.name}`;
}

export const differ = (single, tta) => title(single) !== title(tta);

// One sentence or two: what the mode did, what became of the answer, and what it cost.
export function whatHappened({ single, tta }) {
  const cost = `Cost ${tta.cost.toFixed(1)} crops.`;
  const degraded = tta.tta_applied !== tta.tta_requested
    ? `The server was busy and ran ${MODES[tta.tta_applied].name} instead of ${MODES[tta.tta_requested].name}. `
    : "";
  const sure = whole(firstSure(single, tta.views[0]));
  if (tta.tta_applied === "none") return `${degraded}One crop was looked at (${sure}). ${cost}`;
  if (tta.gate_open === false) return `${degraded}Sure after one crop (${sure}): stopped. ${cost}`;
  const change = differ(single, tta)
    ? `The answer changed from ${title(single)} to ${title(tta)}.`
    : `The answer stayed ${title(tta)}.`;
  return `${degraded}${looked(tta, sure)} ${change} ${cost}`;
}

// How sure the first pass was. Where it is the single crop, the number that stands beside it: the
// view's own may differ by a little, as it is calibrated for the answer of both passes.
function firstSure(single, first) {
  const same = first.box.every((edge, index) => edge === single.views[0].box[index]);
  return same ? single.probability : first.probability;
}

function looked(tta, sure) {
  if (tta.gate_open) {
    const more = tta.passes === 2 ? "the whole photo" : `${plural(tta.passes - 1, "more crop")}`;
    return `Not sure after one crop (${sure}): looked at ${more}.`;
  }
  if (tta.tta_applied === "dense") return "Looked at the whole photo, in five windows.";
  if (tta.tta_applied === "centre_dense") return "Looked at the centre and at the whole photo.";
  return `Looked at ${inWords(tta.views.length)} crops.`;
}

// The terms of the sentence above, explained where it stands.
export function terms(tta) {
  const cost = "Cost: the pixels that the network read, in units of one crop.";
  if (tta.gate_open === undefined) return cost;
  const gate = tta.gate_open ? "was open here: the first answer was not sure enough" : "stayed closed here: the first answer was sure enough";
  return `Gate: the test after the first crop. It ${gate}. ${cost}`;
}

// Which picture of a file was looked at, where it may have several.
export function firstPicture({ type }) {
  if (type === "image/gif") return " Of an animation, the first frame is looked at.";
  return type === "image/tiff" ? " Of several pages, the first one is looked at." : "";
}

export function unknownWords(answer, classes) {
  return `None of my ${inWords(classes)} classes; closest: ${answer.name}.`;
}

export function unknownReason({ score, threshold, known_rate: rate }) {
  return ` Its unknown score of ${score.toFixed(2)} is above ${threshold.toFixed(2)}. ` +
    `${exact(rate)} of photos of known classes stay at or below that.`;
}

// What the choice of a known rate means, or why there is none.
export function rateWords({ known_rate: rate }, mode, offered) {
  if (rate === null || rate === undefined) {
    return "This model has no unknown score, so it cannot say that none of its classes fits.";
  }
  if (!offered) return `The mode ${MODES[mode].name} has no unknown score.`;
  return "Known photos accepted: the share of photos of the model's classes that are not called unknown. " +
    "With a higher share, fewer photos of other things are called unknown too.";
}
