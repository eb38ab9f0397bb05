// The page: an image or the camera goes to the worker, and its answer is drawn and listed.
//
// SPDX-License-Identifier: Apache-2.0

import * as task from "./task.mjs";

const TOP = 5;
const PARTS = { prepare: "Resize", infer: "Network", read: "Decode" };
const $ = (id) => document.getElementById(id);
const canvas = $("canvas");

/** The last answer, with what else may be of use to a script. */
export const state = { facts: null, answer: null, ms: null, report: null, error: null };

const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
const waiting = new Map();
worker.onmessage = ({ data: { id, result, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
};
worker.onerror = () => fail(new Error("the worker did not start: copy the whole folder"));

let last = null; // the ImageData that is on the canvas, without what was drawn
let stream = null; // of the camera, while it is on

function ask(job, values = {}) {
  const id = crypto.getRandomValues(new Uint32Array(1))[0];
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, job, ...values });
  });
}

/** Run the network on an image file; resolves when the answer is shown. */
export async function runFile(file) {
  stopCamera();
  say("Reading the image …");
  try {
    // As the file has it: upright, but without a conversion of its colours.
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
    await runImage(pixelsOf(bitmap, bitmap.width, bitmap.height));
    bitmap.close();
  } catch (error) {
    const isUnread = error.name === "InvalidStateError";
    fail(isUnread ? new Error("this is no image that browsers read") : error);
  }
}

async function runImage(image) {
  say("Computing …");
  const { answer, ms } = await ask("answer", { image, options: options() });
  last = image;
  show(answer, ms);
}

function pixelsOf(source, width, height) {
  const scratch = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  scratch.drawImage(source, 0, 0, width, height);
  return scratch.getImageData(0, 0, width, height);
}

function options() {
  return { top: TOP, score: $("threshold").hidden ? null : $("slider").value / 100 };
}

function show(answer, ms) {
  Object.assign(state, { answer, ms, error: null });
  [canvas.width, canvas.height] = [last.width, last.height];
  canvas.hidden = false;
  $("hint").hidden = true;
  const context = canvas.getContext("2d");
  context.putImageData(last, 0, 0);
  task.draw(context, answer, pixelSide());
  say(task.summary(answer));
  $("rows").replaceChildren(...task.rows(answer).map(listItem));
  const total = Object.values(ms).reduce((sum, value) => sum + value, 0);
  const parts = Object.entries(PARTS).map(([part, name]) => [name, `${ms[part].toFixed(1)} ms`]);
  showPairs([...parts, ["Frames a second", (1000 / total).toFixed(1)]]);
}

/** The canvas' pixels in one of the screen's: a large photograph is shown small. */
function pixelSide() {
  const { width, height, clientWidth, clientHeight } = canvas;
  return Math.max(width / clientWidth, height / clientHeight) || 1;
}

function listItem({ name, share, color, text }) {
  const item = document.createElement("li");
  const value = text ?? `${(100 * share).toFixed(1)} %`;
  item.append(element("span", name), element("span", value, "value"));
  if (share !== undefined) {
    const bar = element("span", "", "bar");
    const filled = element("i", "");
    filled.style.width = `${100 * share}%`;
    filled.style.background = color;
    bar.append(filled);
    item.append(bar);
  }
  return item;
}

function showPairs(pairs) {
  $("times").hidden = false;
  $("times").replaceChildren(
    ...pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
}

function element(tag, text, className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").hidden = !text;
  $("status").classList.toggle("bad", isBad);
}

function fail(error) {
  state.error = error.message;
  say(error.message, true);
}

async function toggleCamera() {
  if (stream) return stopCamera();
  if (!navigator.mediaDevices) {
    return fail(new Error("the camera needs https, or http://localhost: open the page there"));
  }
  try {
    say("Waiting for the camera …");
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    $("video").srcObject = stream;
    await $("video").play();
    $("camera").textContent = "Stop";
    while (stream) {
      await runImage(pixelsOf($("video"), $("video").videoWidth, $("video").videoHeight));
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    stopCamera();
    const isRefused = error.name === "NotAllowedError";
    fail(isRefused ? new Error("the camera was not allowed") : error);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("camera").textContent = "Camera";
}

async function checkGolden() {
  say("Running the golden inputs …");
  const report = await ask("golden");
  state.report = report;
  const pairs = Object.entries(report.differences).flatMap(([name, each]) => [
    [`Away from ${name === "export" ? "the export" : "PyTorch"}`, each.max_abs_error.toPrecision(2)],
    ["SQNR", `${each.sqnr_db.toFixed(1)} dB`],
  ]);
  showPairs([...pairs, ["One inference", `${report.infer_ms.median.toFixed(1)} ms`]]);
  const verdict = report.ok ? "This browser is right" : "This browser answers otherwise";
  say(`${verdict}: ${report.golden.count} golden inputs.`, !report.ok);
  const file = new Blob([`${JSON.stringify(report, null, 2)}\n`], { type: "application/json" });
  $("download").href = URL.createObjectURL(file);
  $("download").hidden = false;
}

function connect(facts) {
  $("slider").value = Math.round(100 * (facts.head.score_threshold ?? 0.5));
  $("threshold").hidden = !task.hasThreshold(facts);
  const showScore = () => ($("score").textContent = ($("slider").value / 100).toFixed(2));
  showScore();
  $("slider").addEventListener("input", showScore);
  $("slider").addEventListener("change", () => last && !stream && runImage(last).catch(fail));
  $("file").addEventListener("change", ({ target }) => {
    if (target.files.length) runFile(target.files[0]);
    target.value = ""; // the same file again is a change, too
  });
  $("camera").addEventListener("click", toggleCamera);
  for (const [event, over] of Object.entries({ dragover: true, dragleave: false, drop: false })) {
    document.addEventListener(event, (dropped) => {
      dropped.preventDefault();
      $("stage").classList.toggle("over", over);
      const [file] = event === "drop" ? dropped.dataTransfer.files : [];
      if (file) runFile(file);
    });
  }
  $("file").disabled = $("camera").disabled = false;
}

/** Resolves when the page can be used, and with `?golden` when the report is there. */
export const ready = (async () => {
  try {
    const facts = (state.facts = await ask("load"));
    document.title = $("model").textContent = facts.model;
    const count = facts.head.classes.length;
    const classes = count ? `, ${count} ${count === 1 ? "class" : "classes"}` : "";
    const size = `${facts.input.width} × ${facts.input.height} pixels`;
    $("about").textContent = `${facts.task}${classes}, ${facts.precision}, ${size}`;
    connect(facts);
    if (new URLSearchParams(location.search).has("golden")) await checkGolden();
    else say("");
  } catch (error) {
    fail(error);
  }
})();
