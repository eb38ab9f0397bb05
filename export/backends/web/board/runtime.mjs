// ONNX Runtime Web: the only file that calls the runtime.
//
// SPDX-License-Identifier: Apache-2.0

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };

/**
 * Load the network.
 *
 * @param facts the content of model.json.
 * @param folder the URL of the folder with the network.
 */
export async function open(facts, folder) {
  const url = new URL(facts.files[0].name, folder).href;
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
  return {
    versions: () => ({ name: "onnxruntime-web", version: ort.env.versions.web }),

    /** The outputs of one float32 input: `[{data, dims}]`. */
    async run(values, shape) {
      const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", values, shape) };
      const outputs = await session.run(feeds);
      return session.outputNames.map((name) => outputs[name]);
    },
  };
}
