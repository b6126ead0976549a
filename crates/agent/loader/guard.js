// Tells when a binary has come to its end. A panic, a trap, memory that is not to be had: all leave WebAssembly as an
// exception of one of its exports, often in a promise or an event of its own, where nobody who waits for an answer would
// hear of it. What it holds is in no known state then.
//
// scripts/build-wasm.sh makes this file a part of each binary's module, and has that call `instantiateGuarded`.

let ended = false;
let reason;
const listeners = [];

/** Calls `listener` with what was thrown once the binary has come to its end. */
export function onEnd(listener) {
  if (ended) listener(reason);
  else listeners.push(listener);
}

function end(thrown) {
  if (ended) return;
  ended = true;
  reason = thrown;
  for (const listener of listeners) listener(reason);
}

function guarded(call) {
  return (...given) => {
    try {
      return call(...given);
    } catch (thrown) {
      end(thrown);
      throw thrown;
    }
  };
}

/** As `WebAssembly.instantiate`, of a compiled module. */
export async function instantiateGuarded(module, imports) {
  const instance = await globalThis.WebAssembly.instantiate(module, imports);
  // From bytes that were not compiled yet it gives something else, which the loader never asks for.
  if (!(instance instanceof globalThis.WebAssembly.Instance)) return instance;
  const guard = ([name, value]) => [name, typeof value === "function" ? guarded(value) : value];
  const exports = Object.fromEntries(Object.entries(instance.exports).map(guard));
  return Object.create(instance, { exports: { value: exports } });
}
