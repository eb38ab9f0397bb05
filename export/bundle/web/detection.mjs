// Detection: boxes in the image's pixels, from the raw maps of YOLOv5, YOLOX and DFL heads.
//
// A place whose score is under the threshold is not decoded: that is most of them.
//
// SPDX-License-Identifier: Apache-2.0

import { cssColor, letterbox } from "./images.mjs";

const MAX_EXPONENT = 20; // exp(20) times a stride is wider than any image
const TINY = 1.1754943508222875e-38; // of float32

export const hasThreshold = () => true;

/** The image with its proportions kept: uint8 planes, and its place. */
export const prepare = letterbox;

/** `{detections: [{box: [x1, y1, x2, y2], score, class, name}]}`, best first. */
export function read(outputs, place, facts, options) {
  const { head } = facts;
  const threshold = options.score ?? head.score_threshold;
  const found = DECODERS[head.decoder](outputs, head, threshold);
  const likely = found.filter(({ score }) => score > threshold);
  const detections = [];
  for (const { sides, score, index } of suppress(likely, head.iou_threshold, head.max_boxes)) {
    const box = sides.map((side, i) => {
      const axis = i % 2;
      const pixels = (side - place.offset[axis]) / place.scale[axis];
      return Math.min(Math.max(pixels, 0), place.limits[axis]);
    });
    if (box[2] > box[0] && box[3] > box[1]) {
      // what lay in the grey alone has no area
      detections.push({ box, score, class: index, name: head.classes[index] });
    }
  }
  return { detections };
}

/** Draw a box and a name around each object; the best ones last, so on top. */
export function draw(context, answer, pixel) {
  context.font = `600 ${12 * pixel}px system-ui, sans-serif`;
  context.textBaseline = "top";
  for (const { box, score, class: index, name } of [...answer.detections].reverse()) {
    const [x1, y1, x2, y2] = box;
    context.strokeStyle = cssColor(index);
    context.lineWidth = 2 * pixel;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${name} ${Math.round(100 * score)}%`;
    const width = context.measureText(text).width + 8 * pixel;
    const x = Math.max(0, Math.min(x1 - pixel, context.canvas.width - width));
    const y = Math.max(0, y1 - 16 * pixel);
    context.fillStyle = cssColor(index, 0.8);
    context.fillRect(x, y, width, 16 * pixel);
    context.fillStyle = "white";
    context.fillText(text, x + 4 * pixel, y + 2 * pixel);
  }
}

/** One line: how many of each class. */
export function summary(answer) {
  const counts = new Map();
  for (const { name } of answer.detections) counts.set(name, (counts.get(name) ?? 0) + 1);
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`);
  return parts.join(", ") || "Nothing found.";
}

/** What the list shows. */
export function rows(answer) {
  return answer.detections.map(({ name, score, class: index }) => ({
    name,
    share: score,
    color: cssColor(index),
  }));
}

// In single precision past 17 all are 1: of classes that are equally sure the first wins.
const sigmoid = (x) => Math.fround(1 / (1 + Math.exp(-x)));
const same = (x) => x;

const DECODERS = {
  yolov5(outputs, head, threshold) {
    const found = [];
    head.strides.forEach((stride, level) => {
      const { data, dims } = outputs[level];
      const [, depth, h, w] = dims;
      const anchors = head.anchors[level];
      const fields = depth / anchors.length;
      anchors.forEach((anchor, number) => {
        places(h, w, (x, y, cell) => {
          const at = (field) => sigmoid(data[(number * fields + field) * h * w + cell]);
          const objectness = at(4);
          if (objectness <= threshold) return;
          const [index, score] = likeliest(fields - 5, (c) => Math.fround(objectness * at(5 + c)));
          const centre = [(2 * at(0) - 0.5 + x) * stride, (2 * at(1) - 0.5 + y) * stride];
          const size = [(2 * at(2)) ** 2 * anchor[0], (2 * at(3)) ** 2 * anchor[1]];
          found.push({ sides: around(centre, size), score, index });
        });
      });
    });
    return found;
  },

  yolox(outputs, head, threshold) {
    const activate = head.scores === "probabilities" ? same : sigmoid;
    const isJoined = outputs.length === head.strides.length; // box, objectness and classes in one
    const found = [];
    head.strides.forEach((stride, level) => {
      const parts = isJoined ? split(outputs[level]) : outputs.slice(3 * level, 3 * level + 3);
      const [box, objectness, classes] = parts;
      const [, count, h, w] = classes.dims;
      places(h, w, (x, y, cell) => {
        const likely = activate(objectness.data[cell]);
        if (likely <= threshold) return;
        const sure = (c) => activate(classes.data[c * h * w + cell]);
        const [index, score] = likeliest(count, (c) => Math.fround(likely * sure(c)));
        const at = (field) => box.data[field * h * w + cell];
        const side = (field) => Math.exp(Math.min(at(field), MAX_EXPONENT)) * stride;
        const centre = [(at(0) + x) * stride, (at(1) + y) * stride];
        found.push({ sides: around(centre, [side(2), side(3)]), score, index });
      });
    });
    return found;
  },

  dfl(outputs, head, threshold) {
    const activate = head.scores === "probabilities" ? same : sigmoid;
    const found = [];
    head.strides.forEach((stride, level) => {
      const [box, classes] = outputs.slice(2 * level, 2 * level + 2);
      const [, count, h, w] = classes.dims;
      const bins = box.dims[1] / 4;
      places(h, w, (x, y, cell) => {
        const [index, score] = likeliest(count, (c) => activate(classes.data[c * h * w + cell]));
        if (score <= threshold) return;
        const [left, top, right, bottom] = [0, 1, 2, 3].map((side) =>
          distance(bins, (bin) => box.data[(side * bins + bin) * h * w + cell]),
        );
        const sides = [x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom];
        found.push({ sides: sides.map((side) => side * stride), score, index });
      });
    });
    return found;
  },
};

function places(h, w, visit) {
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) visit(x, y, y * w + x);
}

function split({ data, dims: [, depth, h, w] }) {
  return [
    [0, 4],
    [4, 5],
    [5, depth],
  ].map(([from, to]) => ({
    data: data.subarray(from * h * w, to * h * w),
    dims: [1, to - from, h, w],
  }));
}

function likeliest(count, score) {
  let best = 0;
  let most = score(0);
  for (let c = 1; c < count; c++) {
    const value = score(c);
    if (value > most) [best, most] = [c, value];
  }
  return [best, most];
}

/** The mean of 0, 1, 2 ... under the bins' softmax; of one bin its value. */
function distance(bins, at) {
  if (bins === 1) return at(0);
  const values = Array.from({ length: bins }, (_, bin) => at(bin));
  const peak = Math.max(...values);
  const shares = values.map((value) => Math.exp(value - peak));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.reduce((total, share, bin) => total + (share / sum) * bin, 0);
}

function around([x, y], [w, h]) {
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

/** The boxes that stay, best first: greedy, within a class. */
function suppress(boxes, overlap, most) {
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  let order = [...boxes].sort((a, b) => b.score - a.score);
  const kept = [];
  while (order.length && kept.length < most) {
    const [best, ...others] = order;
    kept.push(best);
    order = others.filter(({ sides, index }) => {
      if (index !== best.index) return true;
      const w = Math.min(best.sides[2], sides[2]) - Math.max(best.sides[0], sides[0]);
      const h = Math.min(best.sides[3], sides[3]) - Math.max(best.sides[1], sides[1]);
      const common = Math.max(w, 0) * Math.max(h, 0);
      const union = area(best.sides) + area(sides) - common;
      return common / Math.max(union, TINY) <= overlap;
    });
  }
  return kept;
}
