// An entry is one photo with the answers to it: { file, name, url, thumb, model, options, single, tta, heat,
// said, tile }. `model` is the description of the model that was asked; `said` is the feedback, `tile` its card.

const THUMB_PX = 320;

export function newEntry(file, options, model) {
  return { file, name: file.name || "pasted photo", url: null, thumb: null, options, model };
}

// A browser knows no type for some suffixes and for none: then the server looks at the bytes.
export const isNoImage = (file) => Boolean(file.type) && !file.type.startsWith("image/");

// A small copy, so that many photos do not fill the memory. null where the browser cannot show it.
export async function makeThumb(entry) {
  if (entry.thumb) return;
  try {
    const bitmap = await createImageBitmap(entry.file);
    const scale = Math.min(1, THUMB_PX / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(scale * bitmap.width));
    canvas.height = Math.max(1, Math.round(scale * bitmap.height));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
    entry.thumb = URL.createObjectURL(blob);
  } catch {
    entry.thumb = null;
  }
}

export function forget(entry) {
  if (entry.url) URL.revokeObjectURL(entry.url);
  if (entry.thumb) URL.revokeObjectURL(entry.thumb);
}
