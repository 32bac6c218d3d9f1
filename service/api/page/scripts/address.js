// The options in the page's address, so that a reload and a copied link keep them.

// `options` are those of the query; empty ones are left out.
export function writeAddress(options) {
  const given = Object.entries(options).filter(([, value]) => value);
  const hash = `#${new URLSearchParams(given)}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

// The options of the address; null if it has none.
export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  return given.size ? Object.fromEntries(given) : null;
}
