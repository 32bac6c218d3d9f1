// Small helpers for elements and numbers.

export const $ = (id) => document.getElementById(id);

export function element(kind, properties = {}, ...children) {
  const node = Object.assign(document.createElement(kind), properties);
  node.append(...children);
  return node;
}

export const percent = (value) => `${(100 * value).toFixed(1)}%`;
export const whole = (value) => `${Math.round(100 * value)}%`;
export const exact = (share) => `${+(100 * share).toFixed(3)}%`;
export const plural = (count, noun, many = `${noun}s`) => `${count} ${count === 1 ? noun : many}`;

// The milliseconds that a mode itself took: decoding and waiting are the same for all modes.
export function ownTime({ prepare, inference, finish }) {
  return prepare + inference + finish;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
