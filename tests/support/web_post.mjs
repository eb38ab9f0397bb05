// Call functions of a page's modules: a JSON job a line of stdin, its result a line of stdout.
//
//   node web_post.mjs FOLDER < jobs
//
// A job is `{module, function, arguments}`; typed arrays travel as `{type, base64}`.

import { createInterface } from "node:readline";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const TYPES = { Float32Array, Uint8Array, Uint8ClampedArray };

function decode(_, value) {
  if (!value?.base64) return value;
  const bytes = Uint8Array.from(Buffer.from(value.base64, "base64"));
  return new TYPES[value.type](bytes.buffer);
}

function encode(_, value) {
  if (!ArrayBuffer.isView(value)) return value;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return { type: value.constructor.name, base64: bytes.toString("base64") };
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line, decode);
  const module = await import(pathToFileURL(join(process.argv[2], job.module)).href);
  console.log(JSON.stringify(module[job.function](...job.arguments), encode));
}
