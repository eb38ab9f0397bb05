// Run an ONNX file on images of a pipe by ONNX Runtime Web, on one thread.
//
//   node run.mjs JOB < float32.bin
//
// JOB is JSON: library (the module's file), model, shapes (of the inputs), count, out (a folder).
// Writes output0.bin, output1.bin ... and answer.json there, or error.txt.

import { appendFileSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

function readTensor(ort, shape) {
  const size = shape.reduce((product, side) => product * side, 1);
  const bytes = new Uint8Array(4 * size);
  for (let place = 0; place < bytes.length; ) {
    const count = readSync(0, bytes, place, bytes.length - place);
    if (count === 0) throw new Error("too few values came through the pipe");
    place += count;
  }
  return new ort.Tensor("float32", new Float32Array(bytes.buffer), shape);
}

async function run(job) {
  const ort = await import(pathToFileURL(job.library).href);
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(readFileSync(job.model), {
    executionProviders: ["wasm"],
  });
  const ms = [];
  let outputs = [];
  for (let index = 0; index < job.count; index++) {
    const tensors = job.shapes.map((shape) => readTensor(ort, shape));
    const feeds = Object.fromEntries(session.inputNames.map((name, i) => [name, tensors[i]]));
    const start = performance.now();
    const found = await session.run(feeds);
    ms.push(performance.now() - start);
    outputs = session.outputNames.map((name, i) => {
      const { type, dims, data } = found[name];
      appendFileSync(
        join(job.out, `output${i}.bin`),
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      );
      return { type, dims };
    });
  }
  writeFileSync(join(job.out, "answer.json"), JSON.stringify({ ms, outputs }));
}

const job = JSON.parse(process.argv[2]);
try {
  await run(job);
} catch (error) {
  writeFileSync(join(job.out, "error.txt"), String(error?.message ?? error));
  process.exit(1);
}
