// Drives the SDKs for Node: one JSON line in, one call of an application, one JSON line out with what it saw. The same
// protocol as python_clients.py. The SDKs are not altered: their `fetch` is the platform's, and notes every attempt.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import path from 'node:path';

// the packages are cached outside the checkout
const require = createRequire(path.join(process.env.PARITY_CLIENTS, 'package.json'));
const OpenAI = require('openai').default;
const Anthropic = require('@anthropic-ai/sdk').default;
const { zodResponseFormat } = require('openai/helpers/zod');
const { z } = require('zod');

// the structured output that cases ask for as {"$model": "weather"}
const MODELS = { weather: zodResponseFormat(z.object({ city: z.string(), degrees: z.number().int() }), 'Weather') };
const CLIENTS = { 'openai-node': [OpenAI, '/v1'], 'anthropic-node': [Anthropic, ''] };

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

function noting(seen) {
  return async (url, init) => {
    const entry = { none: true };
    seen.push(entry);
    const response = await fetch(url, init);
    const header = {};
    for (const [name, value] of response.headers) if (name !== 'content-length') (header[name] ??= []).push(value);
    delete entry.none;
    Object.assign(entry, { status: response.status, header });
    return response;
  };
}

function resolve(value) {
  if (Array.isArray(value)) return value.map(resolve);
  if (value === null || typeof value !== 'object') return value;
  if ('$model' in value) return MODELS[value.$model];
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
}

const plain = (value) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

function failure(error) {
  const seen = { class: [], message: error.message };
  for (let c = error.constructor; c?.name && c !== Object; c = Object.getPrototypeOf(c)) seen.class.push(c.name);
  for (const name of ['status', 'code', 'type', 'param', 'error', 'requestID']) {
    if (error[name] !== undefined) seen[name] = plain(error[name]);
  }
  return seen;
}

async function drive(order, outcome, seen) {
  const [Client, base] = CLIENTS[order.client];
  const { max_retries = 0, timeout, default_headers } = order.options ?? {};
  const client = new Client({
    apiKey: order.api_key,
    baseURL: order.base_url + base,
    maxRetries: max_retries,
    defaultHeaders: default_headers,
    fetch: noting(seen),
    ...(timeout === undefined ? {} : { timeout: timeout * 1000 }),
  });
  const names = order.call.split('.').map(camel);
  const method = names.pop();
  let owner = client;
  for (const name of names) owner = owner[name];
  const { extra_headers: headers, ...args } = resolve(order.args);
  const pending = owner[method](args, headers && { headers });
  let result;
  if (order.raw) {
    const { data, response, request_id } = await pending.withResponse();
    outcome.raw = { status: response.status, request_id };
    result = data;
  } else {
    // a stream helper is no promise
    result = typeof pending.then === 'function' ? await pending : pending;
  }
  if (result && typeof result[Symbol.asyncIterator] === 'function') {
    outcome.events = [];
    for await (const event of result) {
      outcome.events.push(plain(event));
      if (outcome.events.length === order.stop_after) break;
    }
    const final = result.finalMessage ?? result.finalChatCompletion;
    if (final && order.stop_after === undefined) outcome.final = plain(await final.call(result));
  } else {
    outcome.result = plain(result);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const [seen, outcome] = [[], {}];
  try {
    await drive(order, outcome, seen);
  } catch (error) {
    outcome.error = failure(error); // what an application would have to catch
  }
  console.log(JSON.stringify({ http: seen, outcome }));
}
process.exit(0);
