// Drawings of our own for a first try. The browser turns them into JPEG files.

import { $, element } from "./dom.js";

const SAMPLES = {
  "village": "church and parachute",
  "church": "church",
  "golf-ball": "golf ball",
  "parachute": "parachute",
  "gas-pump": "gas pump",
  "mug": "a mug",
};
const QUALITY = 0.9;

export function offerSamples(take) {
  const buttons = Object.entries(SAMPLES).map(([file, name]) => {
    const path = `page/samples/${file}.svg`;
    const button = element("button", { type: "button", title: name, ariaLabel: name },
      element("img", { src: path, alt: "" }), element("span", { textContent: name }));
    button.addEventListener("click", async () => take([await rasterised(path, `${file}.jpg`)]));
    return button;
  });
  $("samples").querySelector("div").replaceChildren(...buttons);
}

async function rasterised(path, name) {
  const drawing = element("img", { src: path });
  await drawing.decode();
  const canvas = element("canvas", { width: drawing.naturalWidth, height: drawing.naturalHeight });
  canvas.getContext("2d").drawImage(drawing, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  return new File([blob], name, { type: "image/jpeg" });
}
