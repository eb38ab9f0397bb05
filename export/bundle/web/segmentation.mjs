// Segmentation: a mask of the image's size.
//
// SPDX-License-Identifier: Apache-2.0

import { COLORS, cssColor, resizeRow, resizeRows, stretch, taps } from "./images.mjs";

export const hasThreshold = (facts) => facts.head.decoder === "threshold";

/** The image as the network's pixels: uint8 planes, and the image's size. */
export function prepare(image, facts) {
  return { planes: stretch(image, facts), place: [image.height, image.width] };
}

/**
 * `{mask, width, height, shares: [{index, name, share}]}`, the mask uint8 `[height, width]`.
 *
 * The logits are resized, not the mask: its border is smooth then. With one class a pixel is 1
 * where its sigmoid exceeds the threshold; with several it is the index of the largest.
 */
export function read([output], [height, width], facts, options) {
  const [, channels, h, w] = output.dims;
  const logits = new Float32Array(h * w * channels); // [h, w, C]
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < h * w; i++) logits[i * channels + c] = output.data[c * h * w + i];
  }
  const rows = resizeRows(logits, [h, w], channels, channels, height, true);
  const steps = taps(w, width, true);
  const row = new Float32Array(width * channels);
  const share = options.score ?? facts.head.score_threshold;
  const least = channels === 1 ? Math.log(share / (1 - share)) : 0;
  const mask = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    resizeRow(rows, y * w * channels, channels, steps, row);
    for (let x = 0; x < width; x++) {
      mask[y * width + x] =
        channels === 1 ? row[x] > least : largest(row, x * channels, channels);
    }
  }
  const { classes } = facts.head;
  const names = classes.length === 1 ? ["background", ...classes] : classes;
  return { mask, width, height, shares: count(mask, names) };
}

/** Paint the mask over the image. */
export function draw(context, answer) {
  const layer = new ImageData(answer.width, answer.height);
  answer.mask.forEach((value, place) => {
    if (value) layer.data.set([...COLORS[(value - 1) % COLORS.length], 128], 4 * place);
  });
  const canvas = new OffscreenCanvas(answer.width, answer.height);
  canvas.getContext("2d").putImageData(layer, 0, 0);
  context.drawImage(canvas, 0, 0);
}

/** No line above the list. */
export const summary = () => "";

/** What the list shows: each class's share of the pixels. */
export function rows(answer) {
  return answer.shares.map(({ index, name, share }) => ({
    name,
    share,
    color: index ? cssColor(index - 1) : "var(--faint)",
  }));
}

function largest(values, start, count) {
  let best = 0;
  for (let c = 1; c < count; c++) if (values[start + c] > values[start + best]) best = c;
  return best;
}

function count(mask, names) {
  const counts = new Map();
  for (const value of mask) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([index, number]) => ({ index, name: names[index], share: number / mask.length }));
}
