// Classification: the likeliest classes of an image.
//
// SPDX-License-Identifier: Apache-2.0

import { cssColor, stretch } from "./images.mjs";

export const hasThreshold = () => false;

/** The image as the network's pixels: uint8 planes, and nothing to be undone. */
export function prepare(image, facts) {
  return { planes: stretch(image, facts), place: null };
}

/** `{classes: [{index, name, score}]}`, best first; a score is a probability. */
export function read([logits], place, facts, options) {
  const peak = logits.data.reduce((most, value) => Math.max(most, value), -Infinity);
  const shares = Array.from(logits.data, (value) => Math.exp(value - peak));
  const sum = shares.reduce((total, share) => total + share, 0);
  const order = shares.map((_, index) => index).sort((a, b) => shares[b] - shares[a]);
  const classes = order.slice(0, options.top).map((index) => ({
    index,
    name: facts.head.classes[index],
    score: shares[index] / sum,
  }));
  return { classes };
}

/** Nothing is drawn: the list says it. */
export function draw() {}

/** No line above the list. */
export const summary = () => "";

/** What the list shows. */
export function rows(answer) {
  return answer.classes.map((c) => ({ name: c.name, share: c.score, color: cssColor(1) }));
}
