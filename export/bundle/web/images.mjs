// Images: resizing and the network's colours. Pixels come as ImageData: `{width, height, data}`,
// RGBA.
//
// SPDX-License-Identifier: Apache-2.0

export const COLORS = [
  [230, 60, 50],
  [60, 130, 240],
  [70, 190, 90],
  [240, 190, 40],
  [170, 80, 200],
];
const LUMINANCE = [0.299, 0.587, 0.114]; // ITU-R BT.601

/** Rounded half to even, as NumPy does. */
export function rint(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/**
 * The source pixels of each new one along an axis: `[{first, weights}]`.
 *
 * Pixel centres are at half-integers. `antialias`: where it shrinks, the triangle is widened by the
 * factor, so that every pixel counts.
 */
export function taps(old, size, antialias) {
  const ratio = old / size;
  const reach = antialias ? Math.max(ratio, 1) : 1;
  return Array.from({ length: size }, (_, place) => {
    const centre = (place + 0.5) * ratio - 0.5;
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(old - 1, Math.floor(centre + reach));
    const weights = [];
    for (let index = first; index <= last; index++) {
      weights.push(Math.max(0, 1 - Math.abs(index - centre) / reach));
    }
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => Math.fround(weight / sum)) };
  });
}

/** Resize the rows of `[h, w, step]` to `[height, w, channels]`; `step` may count an alpha, too. */
export function resizeRows(source, [h, w], step, channels, height, antialias) {
  const result = new Float32Array(height * w * channels);
  const steps = h === height ? null : taps(h, height, antialias);
  for (let y = 0; y < height; y++) {
    const { first, weights } = steps ? steps[y] : { first: y, weights: [1] };
    for (let x = 0; x < w; x++) {
      for (let c = 0; c < channels; c++) {
        let total = 0;
        for (let k = 0; k < weights.length; k++) {
          total += weights[k] * source[((first + k) * w + x) * step + c];
        }
        result[(y * w + x) * channels + c] = total;
      }
    }
  }
  return result;
}

/** Resize the columns of one row `[w, channels]`, at `offset` of `source`, into `row`. */
export function resizeRow(source, offset, channels, steps, row) {
  for (let x = 0; x < steps.length; x++) {
    const { first, weights } = steps[x];
    for (let c = 0; c < channels; c++) {
      let total = 0;
      for (let k = 0; k < weights.length; k++) {
        total += weights[k] * source[offset + (first + k) * channels + c];
      }
      row[x * channels + c] = total;
    }
  }
}

/**
 * An image at another size in the network's colours: uint8 planes, channel by channel.
 *
 * @param image ImageData.
 * @param color `gray`, `rgb` or `bgr`.
 */
export function toPlanes(image, width, height, color, antialias) {
  const rows = resizeRows(image.data, [image.height, image.width], 4, 3, height, antialias);
  const steps = taps(image.width, width, antialias);
  const row = new Float32Array(3 * width);
  const size = width * height;
  const planes = new Uint8ClampedArray((color === "gray" ? 1 : 3) * size);
  const order = color === "bgr" ? [2, 1, 0] : [0, 1, 2];
  for (let y = 0; y < height; y++) {
    resizeRow(rows, y * image.width * 3, 3, steps, row);
    for (let x = 0; x < width; x++) {
      const place = y * width + x;
      if (color === "gray") {
        planes[place] = rint(LUMINANCE.reduce((sum, part, c) => sum + part * row[3 * x + c], 0));
      } else {
        for (let c = 0; c < 3; c++) planes[c * size + place] = rint(row[3 * x + order[c]]);
      }
    }
  }
  return planes;
}

/** The image over the whole input: uint8 planes. */
export function stretch(image, facts) {
  const { width, height, color } = facts.input;
  return toPlanes(image, width, height, color, facts.resize.antialias);
}

/** The image with its proportions kept, grey around it: uint8 planes, and its place. */
export function letterbox(image, facts) {
  const { width, height, color } = facts.input;
  const { antialias, centred, pad_value: grey } = facts.resize;
  const ratio = Math.min(height / image.height, width / image.width);
  const w = Math.max(1, rint(image.width * ratio));
  const h = Math.max(1, rint(image.height * ratio));
  const top = centred ? Math.floor((height - h) / 2) : 0;
  const left = centred ? Math.floor((width - w) / 2) : 0;
  const small = toPlanes(image, w, h, color, antialias);
  const planes = new Uint8ClampedArray((small.length / (w * h)) * width * height).fill(grey);
  for (let c = 0; c * w * h < small.length; c++) {
    for (let y = 0; y < h; y++) {
      const from = (c * h + y) * w;
      planes.set(small.subarray(from, from + w), (c * height + top + y) * width + left);
    }
  }
  const place = {
    scale: [w / image.width, h / image.height],
    offset: [left, top],
    limits: [image.width, image.height],
  };
  return { planes, place };
}

/** A colour for CSS; of detections and masks the same class has the same one. */
export function cssColor(index, alpha = 1) {
  const [red, green, blue] = COLORS[index % COLORS.length];
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}
