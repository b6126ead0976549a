// What became of a call.

const LIMIT_MS = 20_000;

export const collector = new URLSearchParams(location.search).get("collector");

/** `{ value }`, or `{ error }` of what was thrown; a call that does not settle says so. */
export async function outcome(call) {
  const late = new Promise((resolve) => setTimeout(() => resolve({ error: { message: "it did not settle" } }), LIMIT_MS));
  const settled = (async () => call())().then(
    (value) => ({ value: value === undefined ? "undefined" : typeof value }),
    (error) => ({ error: { name: error?.name, code: error?.code, message: error?.message, hint: error?.hint } }),
  );
  return Promise.race([settled, late]);
}

export async function report(found) {
  await fetch(`${collector}/report`, { method: "POST", body: JSON.stringify(found) });
}
