// The network in a thread of its own, so that the page stays alive while it computes.
//
// SPDX-License-Identifier: Apache-2.0

import { check } from "./golden.mjs";
import { Program } from "./program.mjs";

const loading = Program.load();
loading.catch(() => {}); // who asks is told

const jobs = {
  load: async () => (await loading).facts,
  answer: async ({ image, options }) => (await loading).answer(image, options),
  golden: async () => check(await loading),
};

self.onmessage = async ({ data }) => {
  const reply = { id: data.id };
  try {
    reply.result = await jobs[data.job](data);
  } catch (error) {
    reply.error = error?.message ?? String(error);
  }
  self.postMessage(reply);
};
