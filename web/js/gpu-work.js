// Work on the GPU: one task at a time, in a worker, so that the page stays usable and the memory of a large batch is given back
// afterwards.

import { text } from "./dom.js";
import { change } from "./state.js";

let worker = null;

export const isBusy = () => worker !== null;

// Lets a worker do one task: its phases and its end are told in `status`, its answer to `done`.
export function work(task, status, done) {
  if (worker) return;
  text(status, "Opening the GPU …");
  worker = new Worker(new URL("gpu-worker.js", import.meta.url), { type: "module" });
  // The parts draw their buttons anew.
  change({});
  const finish = (data) => {
    worker.terminate();
    worker = null;
    change({});
    const advice = task.rows ? "A smaller batch, or reloading the page, may help." : "Reloading the page may help.";
    text(status, data.error ? `That did not work: ${data.error}. ${advice}` : "Done.");
    if (!data.error) done(data);
  };
  worker.onmessage = ({ data }) => {
    if (data.phase) text(status, data.phase);
    else finish(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    finish({ error: event.message || "the worker did not start" });
  };
  worker.postMessage(task);
}
