// What an application does with webnibble: load it, load a model, run it.
import init, { Model } from "./webnibble.js";

/** The input as the command line reads it. */
async function fetchInput(collector) {
  const named = Object.entries(await (await fetch(`${collector}/input.json`)).json());
  return { tensors: Object.fromEntries(named.map(([name, { shape, data }]) => [name, { shape, data: new Uint32Array(data) }])) };
}

export async function answer({ collector, variant, platform }) {
  const started = await init(variant ? { candidates: [variant] } : undefined);
  const model = await Model.load(new URL("/model.safetensors", collector), { platform, threads: 2 });
  const { outputs, report } = await model.run(await fetchInput(collector));
  model.dispose();
  return {
    variant: started.variant,
    implementation_type: report.implementation_type,
    threads: report.variants.threads ?? null,
    values: [...outputs.last_hidden_state.data],
  };
}
