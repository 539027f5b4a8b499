// Returns, GAE and PPO's loss in JavaScript, as a candidate: an adapter to start yours from.
//
//     python -m rlspec check "cmd: node adapter.mjs"
//
// What it answers, and to what, is said in README.md beside this file.

import { createInterface } from "node:readline";

// An array comes as {dtype, shape, data}.  These operations are about rows, [B, T].

const number = (entry) => ({ nan: NaN, inf: Infinity, "-inf": -Infinity })[entry] ?? Number(entry);
const written = (entry) => (Number.isFinite(entry) ? entry : Number.isNaN(entry) ? "nan" : entry > 0 ? "inf" : "-inf");

function rows({ shape: [height, width], data }) {
  return Array.from({ length: height }, (_, b) => data.slice(b * width, (b + 1) * width).map(number));
}

function array(rows, width) {
  return { dtype: "float64", shape: [rows.length, width], data: rows.flat().map(written) };
}

function vector(numbers) {
  return { dtype: "float64", shape: [numbers.length], data: numbers.map(written) };
}

// The operations: your own code is called here.

function backwards(width, step) {
  const result = new Array(width);
  for (let t = width - 1; t >= 0; t--) result[t] = step(t, t + 1 < width ? result[t + 1] : 0);
  return result;
}

function reward_to_go({ rewards, gamma }) {
  const width = rewards.shape[1];
  const returns = rows(rewards).map((r) => backwards(width, (t, following) => r[t] + gamma * following));
  return array(returns, width);
}

function discounted_return({ rewards, gamma }) {
  const width = rewards.shape[1];
  return vector(rows(rewards).map((r) => backwards(width, (t, following) => r[t] + gamma * following)[0] ?? 0));
}

function gae({ rewards, values, next_values, terminated, truncated, gamma, lam }) {
  const [height, width] = rewards.shape;
  const [r, v, next, ends, cut] = [rewards, values, next_values, terminated, truncated].map(rows);
  const advantages = Array.from({ length: height }, (_, b) =>
    backwards(width, (t, following) => {
      const delta = r[b][t] - v[b][t] + (ends[b][t] ? 0 : gamma * next[b][t]);
      return delta + (ends[b][t] || cut[b][t] ? 0 : gamma * lam * following);
    }),
  );
  return array(advantages, width);
}

function ppo_loss({ logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip }) {
  const [height, width] = logp.shape;
  const [lp, old, a, counts] = [logp, old_logp, advantages, mask].map(rows);
  const count = counts.flat().filter(Boolean).length;
  let loss = 0;
  const slopes = Array.from({ length: height }, () => new Array(width).fill(0));
  for (let b = 0; b < height; b++) {
    for (let t = 0; t < width; t++) {
      if (!counts[b][t]) continue;
      const ratio = Math.exp(lp[b][t] - old[b][t]);
      const clipped = Math.min(Math.max(ratio, 1 - clip_low), 1 + clip_high);
      const gain = a[b][t] === 0 ? 0 : ratio * a[b][t]; // a ratio may be infinite
      let objective = Math.min(gain, clipped * a[b][t]);
      let slope = gain === objective ? gain : 0;
      if (dual_clip !== null && a[b][t] < 0 && dual_clip * a[b][t] > objective) {
        objective = dual_clip * a[b][t];
        slope = 0;
      }
      loss -= objective / count;
      slopes[b][t] = -slope / count;
    }
  }
  return { loss: written(loss), d_logp: array(slopes, width) };
}

// The conversation: a line in, a line out for each call in it.

const operations = { discounted_return, reward_to_go, gae, ppo_loss };

const hello = { hello: 1, name: "JavaScript", operations: Object.keys(operations) };

function answer({ id, operation, arguments: given }) {
  try {
    return { id, result: operations[operation](given) };
  } catch (error) {
    return { id, error: String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { calls } = JSON.parse(line);
  const answers = calls ? calls.map(answer) : [hello];
  process.stdout.write(answers.map((message) => JSON.stringify(message) + "\n").join(""));
}
