// The network with all that is before and behind it.
//
// SPDX-License-Identifier: Apache-2.0

import { open } from "./runtime.mjs";
import * as task from "./task.mjs";

/** The folder of model.json. */
export const FOLDER = new URL("../", import.meta.url);

/** A file of the folder. */
export async function fetchFile(name) {
  const response = await fetch(new URL(name, FOLDER));
  if (!response.ok) {
    throw new Error(`cannot read ${name} (${response.status}): copy the whole folder`);
  }
  return response;
}

export class Program {
  static async load() {
    const facts = await (await fetchFile("model.json")).json();
    return new Program(facts, await open(facts, FOLDER));
  }

  constructor(facts, runtime) {
    this.facts = facts;
    this.runtime = runtime;
  }

  /** The answer for an ImageData, and milliseconds by part. */
  async answer(image, options) {
    const start = performance.now();
    const { planes, place } = task.prepare(image, this.facts);
    const x = this.feed(planes);
    const ready = performance.now();
    const outputs = await this.run(x);
    const done = performance.now();
    const answer = task.read(outputs, place, this.facts, options);
    const ms = { prepare: ready - start, infer: done - ready, read: performance.now() - done };
    return { answer, ms };
  }

  /** uint8 planes as the runtime wants them: float32, normalised. */
  feed(planes) {
    const { mean, std } = this.facts.input;
    const size = planes.length / mean.length;
    const x = new Float32Array(planes.length);
    for (let c = 0; c < mean.length; c++) {
      const [shift, scale] = [Math.fround(mean[c]), Math.fround(std[c])];
      for (let i = c * size; i < (c + 1) * size; i++) x[i] = Math.fround(planes[i] - shift) / scale;
    }
    return x;
  }

  /** The outputs, float32: `[{data, dims}]`. */
  async run(x) {
    const outputs = await this.runtime.run(x, this.facts.input.shape);
    return outputs.map(({ data, dims }) => ({ data: toFloats(data), dims }));
  }
}

/** Indices come as 64-bit integers. */
function toFloats(data) {
  return data instanceof Float32Array ? data : Float32Array.from(data, Number);
}
