// A network of a user's own: its raw outputs, which edgeark knows no meaning of.
//
// Put what they mean into `read`, `draw` and `rows`.
//
// SPDX-License-Identifier: Apache-2.0

import { stretch } from "./images.mjs";

export const hasThreshold = () => false;

/** The image as the network's pixels: uint8 planes, and nothing to be undone. */
export function prepare(image, facts) {
  return { planes: stretch(image, facts), place: null };
}

/** `{outputs: [{name, dims, data}]}`, float32 with the batch of 1. */
export function read(outputs, place, facts) {
  return { outputs: outputs.map((output, i) => ({ name: facts.outputs[i].name, ...output })) };
}

/** Nothing is known to draw. */
export function draw() {}

/** No line above the list. */
export const summary = () => "";

/** What the list shows: the shape, the least and the greatest value of each output. */
export function rows(answer) {
  return answer.outputs.map(({ name, dims, data }) => {
    const least = data.reduce((a, b) => Math.min(a, b), Infinity);
    const most = data.reduce((a, b) => Math.max(a, b), -Infinity);
    const text = `${least.toPrecision(4)} to ${most.toPrecision(4)}`;
    return { name: `${name} ${dims.join("x")}`, text };
  });
}
