// Giving way to the event loop. A MessageChannel is not throttled to 4 ms as nested timers are.

let channel = null;
const waiting = [];

// Opened when it is first needed: where this file is only imported, as Node does to render a page, an open channel
// would keep the process from ending.
function open() {
  channel = new MessageChannel();
  channel.port1.onmessage = () => waiting.shift()();
}

/** Resolves in a new task, after events that came before it. */
export function nextTask() {
  return new Promise((resolve) => {
    if (channel === null) open();
    waiting.push(resolve);
    channel.port2.postMessage(null);
  });
}
