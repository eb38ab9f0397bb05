// The golden inputs, run here: whether this browser answers as the export did, and as PyTorch.
//
// `edgeark verify FOLDER --board board.json` reads what is written here.
//
// SPDX-License-Identifier: Apache-2.0

import { fetchFile } from "./program.mjs";

const SCHEMA = 1;
const CAP_DB = 200;

/** Run them all; the content of board.json. */
export async function check(program) {
  const { facts } = program;
  const pixels = await bytesOf(facts.golden.pixels);
  const size = pixels.length / facts.golden.count;
  const answers = [];
  const times = [];
  for (let index = 0; index < facts.golden.count; index++) {
    const x = program.feed(pixels.subarray(index * size, (index + 1) * size));
    const start = performance.now();
    answers.push(await program.run(x));
    times.push(performance.now() - start);
  }
  const differences = {};
  for (const kind of ["export", "pytorch"]) {
    const files = facts.golden[kind];
    if (!files.length) continue;
    const wanted = await Promise.all(files.map(bytesOf));
    differences[kind] = compare(wanted.map((bytes) => new Float32Array(bytes.buffer)), answers);
  }
  // An export that nothing has run has no answers of its own: then PyTorch's must do.
  const judged = differences.export ?? differences.pytorch;
  const allowed = facts.golden.tolerance * Math.max(1, judged.peak);
  const files = facts.files.map(async ({ name }) => {
    return { name, sha256: await digest(await bytesOf(name)) };
  });
  return {
    schema: SCHEMA,
    model: facts.model,
    target: facts.target,
    precision: facts.precision,
    files: await Promise.all(files),
    golden: { count: facts.golden.count, sha256: await digest(pixels) },
    ok: judged.max_abs_error <= allowed,
    allowed,
    differences,
    infer_ms: { median: median(times), least: Math.min(...times) },
    runtime: program.runtime.versions(),
    program: "web",
    machine: { architecture: navigator.platform ?? "", browser: navigator.userAgent },
  };
}

/** The worst output's difference; the mean over the inputs is no signal. */
export function compare(wanted, answers) {
  const found = wanted.map((right, index) => {
    const parts = answers.map((outputs) => outputs[index].data);
    const size = parts[0].length;
    const mean = new Float64Array(size);
    parts.forEach((_, n) => {
      for (let i = 0; i < size; i++) mean[i] += right[n * size + i] / parts.length;
    });
    const all = { error: 0, peak: 0, noise: 0, power: 0, finite: true };
    parts.forEach((answer, n) => {
      for (let i = 0; i < size; i++) {
        const value = right[n * size + i];
        const error = answer[i] - value;
        all.finite &&= Number.isFinite(answer[i]);
        all.error = Math.max(all.error, Math.abs(error));
        all.peak = Math.max(all.peak, Math.abs(value));
        all.noise += error ** 2;
        all.power += (value - mean[i]) ** 2;
      }
    });
    return all;
  });
  const peak = Math.max(...found.map((each) => each.peak));
  if (!found.every((each) => each.finite)) return { max_abs_error: 1e30, sqnr_db: -CAP_DB, peak };
  return {
    max_abs_error: Math.max(...found.map((each) => each.error)),
    sqnr_db: Math.min(...found.map(decibels)),
    peak,
  };
}

function decibels({ noise, power }) {
  if (noise === 0) return CAP_DB;
  if (power === 0) return -CAP_DB;
  return Math.min(Math.max(10 * Math.log10(power / noise), -CAP_DB), CAP_DB);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function bytesOf(name) {
  return new Uint8Array(await (await fetchFile(name)).arrayBuffer());
}

async function digest(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new Error("hashes need https, or http://localhost: open the page there");
  }
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
