// OpenAI's own JavaScript client against the server of `vl2 serve`, whose model is the tests' fake one.
//
// Usage   node tests/server/openai_client_test.mjs --server build/release/tests/vl2_fake_server --work build/release/openai [--only TEXT]
// Needs   node 18 and npm, which fetches the client into the --work folder once; fails when it cannot.
// Prints  a line a case; exit status 1 if one failed.
import assert from 'node:assert/strict';
import {execFileSync, spawn} from 'node:child_process';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const kClient = 'openai@6.49.0';  // Apache-2.0
const {values: {server, work: folder, only}} = parseArgs(
    {options: {server: {type: 'string'}, work: {type: 'string'}, only: {type: 'string', default: ''}}});

function giveUp(message) {
  console.error(`openai_client: ${message}`);
  process.exit(1);
}
if (server === undefined || folder === undefined) giveUp('wanted --server PROGRAM and --work FOLDER');
const work = path.resolve(folder);

function fetchClient() {
  const [name, version] = kClient.split('@'), place = path.join(work, 'node_modules', name);
  const has = () => fs.existsSync(path.join(place, 'package.json')) &&
      JSON.parse(fs.readFileSync(path.join(place, 'package.json'), 'utf8')).version === version;
  if (!has()) {
    fs.mkdirSync(work, {recursive: true});
    try {
      execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', work, kClient],
                   {cwd: work, stdio: ['ignore', 'ignore', 'inherit']});
    } catch (error) {
      giveUp(`npm could not fetch ${kClient}: ${error.message}`);
    }
    if (!has()) giveUp(`npm left no ${kClient} in ${place}`);
  }
  return createRequire(path.join(work, 'here.js'))(name);
}

/** A server of its own: {port, end()}. */
async function start(...args) {
  const child = spawn(server, args, {stdio: ['pipe', 'pipe', 'inherit']});
  child.on('error', (error) => giveUp(error.message));
  const lines = readline.createInterface({input: child.stdout});
  const port = Number((await lines[Symbol.asyncIterator]().next()).value);
  if (!(port > 0)) giveUp(`${server} gave no port`);
  return {port, end: () => new Promise((resolve) => {
            child.on('exit', resolve);
            child.stdin.end();
          })};
}

const {OpenAI} = fetchClient();
const open = await start(), locked = await start('sesame');
const connect = (port, apiKey = 'none', more = {}) => new OpenAI({baseURL: `http://127.0.0.1:${port}/v1`, apiKey, maxRetries: 0, ...more});
const client = connect(open.port);

const chat = (content, more = {}) => client.chat.completions.create({model: 'fake', messages: [{role: 'user', content}], ...more});
const text = async (...args) => (await chat(...args)).choices[0].message.content;
const png = fs.readFileSync(path.join(path.dirname(fileURLToPath(import.meta.url)), '../../app/demo/pictures/scene.png'));
const picture = (detail) => ({type: 'image_url', image_url: {url: `data:image/png;base64,${png.toString('base64')}`, ...(detail ? {detail} : {})}});
const words = (value) => ({type: 'text', text: value});
const until = async (what) => {
  for (let i = 0; i < 400; ++i) {
    if (await what()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail(`never: ${what}`);
};
const metric = async (name, port = open.port) => {
  const lines = (await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? 'NaN');
};

async function refused(promise, status, {param, code, type, message}) {
  const error = await promise.then(() => assert.fail('it was not refused'), (e) => e);
  assert.ok(error instanceof OpenAI.APIError, String(error));
  assert.equal(error.status, status, error.message);
  if (param !== undefined) assert.equal(error.param, param);
  if (code !== undefined) assert.equal(error.code, code);
  if (type !== undefined) assert.equal(error.type, type);
  if (message !== undefined) assert.match(error.message, message);
  return error;
}

const cases = [];
const test = (name, body) => cases.push({name, body});

// --- Answers ------------------------------------------------------------------------------------------------------------------

test('an answer', async () => assert.equal(await text('say hello there'), 'hello there'));
test('an answer of text that is not ASCII', async () => assert.equal(await text('say Grüße 世界 🙂 "\\'), 'Grüße 世界 🙂 "\\'));
test('an empty answer', async () => assert.equal(await text('say'), ''));
test('the members of an answer', async () => {
  const answer = await chat('say one two');
  assert.equal(answer.object, 'chat.completion');
  assert.match(answer.id, /^chatcmpl-[0-9a-f]{16}$/);
  assert.equal(answer.model, 'fake');
  assert.ok(Math.abs(answer.created - Date.now() / 1000) < 60);
  assert.equal(answer.choices.length, 1);
  assert.equal(answer.choices[0].index, 0);
  assert.equal(answer.choices[0].message.role, 'assistant');
  assert.equal(answer.choices[0].message.refusal, null);
});
test('ids differ', async () => assert.notEqual((await chat('say a')).id, (await chat('say a')).id));
test('usage', async () => {
  const {usage} = await chat('say one two');
  assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.total_tokens], [3, 2, 5]);
  assert.equal(usage.prompt_tokens_details.cached_tokens, 0);
});
test('finish_reason stop', async () => assert.equal((await chat('say a')).choices[0].finish_reason, 'stop'));
test('finish_reason length', async () => {
  const {choices: [choice]} = await chat('say one two three', {max_tokens: 2});
  assert.deepEqual([choice.finish_reason, choice.message.content], ['length', 'one two']);
});
test('max_completion_tokens', async () => assert.equal(await text('say one two three', {max_completion_tokens: 1}), 'one'));
test('stop, one', async () => assert.equal(await text('say one two three', {stop: ' three'}), 'one two'));
test('stop, several', async () => assert.equal(await text('say one two three', {stop: ['x', 'wo', 'three']}), 'one t'));
test('temperature, top_p, seed', async () => assert.equal(await text('say a', {temperature: 1.5, top_p: 0.5, seed: 42}), 'a'));
test('members that cannot change the answer', async () =>
  assert.equal(await text('say a', {user: 'u', metadata: {a: 'b'}, store: false, service_tier: 'auto', n: 1, tools: [], tool_choice: 'none',
                                    presence_penalty: 0, frequency_penalty: 0, logit_bias: {}, response_format: {type: 'text'}, parallel_tool_calls: true}), 'a'));

// --- Messages -----------------------------------------------------------------------------------------------------------------

const echo = async (...messages) => (await client.chat.completions.create({model: 'fake', messages: [...messages, {role: 'user', content: 'echo'}]})).choices[0].message.content;
test('system, user, assistant', async () => assert.equal(
    await echo({role: 'system', content: 's'}, {role: 'user', content: 'u'}, {role: 'assistant', content: 'a'}), 'system:s+0;user:u+0;assistant:a+0;user:echo+0;'));
test('developer is system', async () => assert.equal(await echo({role: 'developer', content: 'd'}), 'system:d+0;user:echo+0;'));
test('names are left alone', async () => assert.equal(await echo({role: 'user', name: 'me', content: 'u'}), 'user:u+0;user:echo+0;'));
test('an assistant without content', async () => assert.equal(
    await echo({role: 'user', content: 'u'}, {role: 'assistant', content: null}), 'user:u+0;assistant:+0;user:echo+0;'));
test('parts of text', async () => assert.equal(await echo({role: 'user', content: [words('a'), words('b')]}), 'user:ab+0;user:echo+0;'));
test('parts of an assistant', async () => assert.equal(
    await echo({role: 'user', content: 'u'}, {role: 'assistant', content: [words('a')]}), 'user:u+0;assistant:a+0;user:echo+0;'));
test('a picture', async () => {
  const answer = await chat([picture(), words('say yes')]);
  assert.equal(answer.choices[0].message.content, 'yes');
  assert.equal(answer.usage.prompt_tokens, 421 + 2);
});
test('several pictures, in several messages', async () => assert.equal(
    await echo({role: 'user', content: [picture(), picture('high'), words('two')]}, {role: 'assistant', content: 'a'}, {role: 'user', content: [picture('auto'), words('one')]}),
    'user:two+2;assistant:a+0;user:one+1;user:echo+0;'));
test('a picture in the middle of a text', async () => assert.equal(
    await echo({role: 'user', content: [words('before '), picture(), words(' after')]}), 'user:before <image> after+1;user:echo+0;'));
test('eight pictures', async () => assert.equal(await text([...Array(8).fill(picture()), words('say many')]), 'many'));
test('nine pictures are too many', () => refused(chat([...Array(9).fill(picture()), words('say many')]), 400, {code: 'too_many_images'}));

// --- Streams ------------------------------------------------------------------------------------------------------------------

const collect = async (stream) => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
};
const joined = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

test('a stream', async () => {
  const chunks = await collect(await chat('say one two three', {stream: true}));
  assert.equal(joined(chunks), 'one two three');
  assert.equal(chunks[0].choices[0].delta.role, 'assistant');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.choices[0].finish_reason === null));
  assert.equal(new Set(chunks.map(({id}) => id)).size, 1);
});
test('a stream with usage', async () => {
  const chunks = await collect(await chat('say one two', {stream: true, stream_options: {include_usage: true}}));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 2);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
});
test('a stream comes in pieces, not at its end', async () => {
  const start = Date.now(), seen = [];
  for await (const chunk of await chat('count 10 30', {stream: true})) seen.push(Date.now() - start);
  assert.ok(seen.at(-1) - seen[1] > 150, `${seen}`);
});
test('a stream with stop', async () => assert.equal(joined(await collect(await chat('say one two three', {stream: true, stop: ['wo t']}))), 'one t'));
test('a stream of text that is not ASCII', async () => assert.equal(joined(await collect(await chat('say ü 世 🙂', {stream: true}))), 'ü 世 🙂'));
test('the client\'s stream helper', async () => {
  const runner = client.chat.completions.stream({model: 'fake', messages: [{role: 'user', content: 'say by helper'}]});
  let deltas = '';
  runner.on('content', (delta) => deltas += delta);
  assert.equal((await runner.finalChatCompletion()).choices[0].message.content, 'by helper');
  assert.equal(deltas, 'by helper');
});
test('a stream whose client leaves frees its slot', async () => {
  const stream = await chat('count 100000 5', {stream: true});
  for await (const chunk of stream) if (chunk.choices[0].delta.content === ' 3') break;
  await until(async () => await metric('vl2_slots_busy') === 0);
});
test('an answer that is aborted frees its slot', async () => {
  const controller = new AbortController();
  const answer = client.chat.completions.create({model: 'fake', messages: [{role: 'user', content: 'count 100000 5'}]}, {signal: controller.signal});
  const failure = answer.then(() => null, (error) => error);
  await until(async () => await metric('vl2_slots_busy') === 1);
  controller.abort();
  assert.ok(await failure instanceof OpenAI.APIUserAbortError);
  await until(async () => await metric('vl2_slots_busy') === 0);
});
test('a stream that breaks throws the error', async () => {
  const stream = await chat('break 3', {stream: true});
  const failure = await collect(stream).then(() => assert.fail('it did not break'), (error) => error);
  assert.ok(failure instanceof OpenAI.APIError);
  assert.match(failure.message, /lost at token 3/);
});

// --- Boxes and probabilities --------------------------------------------------------------------------------------------------

const kBoxes = [{label: 'a cat', box: [1, 2, 3, 4], pixels: [10, 20, 30, 40], picture: 0}, {label: 'a dog', box: [5, 6, 7, 8], pixels: [50, 60, 70, 80], picture: 0}];
test('boxes', async () => {
  const answer = await chat('boxes');
  assert.deepEqual(answer.vl2.boxes, kBoxes);
  assert.equal(answer.choices[0].message.content, 'See a cat and a dog.');
});
test('boxes in a stream', async () => {
  const chunks = await collect(await chat('boxes', {stream: true}));
  assert.deepEqual(chunks.filter(({vl2}) => vl2).map(({vl2}) => vl2.boxes.length), [1, 2, 2]);
  assert.deepEqual(chunks.at(-1).vl2.boxes, kBoxes);
});
test('boxes have probabilities with logprobs', async () => assert.deepEqual((await chat('boxes', {logprobs: true})).vl2.boxes.map(({probability}) => probability), [0.5, 0.5]));
test('tags, when asked for', async () => assert.match(await text('boxes', {vl2: {tags: true}}), /^See <\|ref\|>a cat<\|\/ref\|><\|det\|>\[\[1, 2, 3, 4\]\]<\|\/det\|>/));
test('logprobs', async () => {
  const {content} = (await chat('say one two', {logprobs: true, top_logprobs: 3})).choices[0].logprobs;
  assert.deepEqual(content.map(({token}) => token), ['one', ' two']);
  assert.deepEqual(content[0].bytes, [...Buffer.from('one')]);
  assert.equal(content[0].logprob, -0.5);
  assert.deepEqual(content[1].top_logprobs.map(({logprob}) => logprob), [-0.5, -1.5, -2.5]);
});
test('logprobs in a stream', async () => {
  const chunks = await collect(await chat('say one two', {logprobs: true, stream: true}));
  assert.deepEqual(chunks.flatMap(({choices}) => choices[0].logprobs?.content ?? []).map(({token}) => token), ['one', ' two']);
});
test('no logprobs unless asked for', async () => assert.equal((await chat('say a')).choices[0].logprobs, null));

// --- Schemas ------------------------------------------------------------------------------------------------------------------

const jsonSchema = (schema, more = {}) => ({response_format: {type: 'json_schema', json_schema: {name: 'test', schema, ...more}}});
const shape = {type: 'object', properties: {zebra: {type: 'string'}, ant: {type: 'array', items: {$ref: '#/$defs/one'}}}, required: ['zebra', 'ant'],
               additionalProperties: false, $defs: {one: {anyOf: [{type: 'null'}, {type: 'integer', minimum: 0}]}}};
test('json_schema comes to the model with its properties in their order', async () =>
  assert.equal(await text('schema', jsonSchema(shape, {strict: true, description: 'd'})), JSON.stringify(shape)));
test('json_schema in a stream', async () => {
  const chunks = await collect(await chat('schema', {stream: true, ...jsonSchema(shape)}));
  assert.equal(chunks.map(({choices}) => choices[0]?.delta.content ?? '').join(''), JSON.stringify(shape));
});
test('json_schema by the parsing helper of the client', async () => {
  const {choices: [{message}]} = await client.chat.completions.parse(
      {model: 'fake', messages: [{role: 'user', content: 'say {"zebra":"z","ant":[1,null]}'}], ...jsonSchema(shape, {strict: true})});
  assert.deepEqual(message.parsed, {zebra: 'z', ant: [1, null]});
});
test('json_object', async () => assert.equal(await text('schema', {response_format: {type: 'json_object'}}), '{"type":"object"}'));
test('no schema unless asked for', async () => assert.equal(await text('schema', {response_format: {type: 'text'}}), ''));
test('what looks like tags in JSON stays', async () =>
  assert.equal(await text('say {"a":"<|det|>[[1, 2, 3, 4]]<|/det|>"}', {response_format: {type: 'json_object'}}), '{"a":"<|det|>[[1, 2, 3, 4]]<|/det|>"}'));

// --- Refusals -----------------------------------------------------------------------------------------------------------------

test('another model', () => refused(chat('say a', {model: 'gpt-4o'}), 404, {code: 'model_not_found', param: 'model'}));
test('a schema with a keyword that is not built', () => refused(chat('say a', jsonSchema({type: 'string', pattern: 'a'})), 400, {param: 'response_format', type: 'invalid_request_error', message: /"pattern" is not supported/}));
test('a schema that nothing satisfies', () => refused(chat('say a', jsonSchema({type: 'integer', minimum: 3, maximum: 2})), 400, {param: 'response_format', message: /no value satisfies it/}));
test('a schema that is none', () => refused(chat('say a', jsonSchema({type: 'strin'})), 400, {param: 'response_format', message: /type: got "strin"/}));
test('a schema without a name', () => refused(chat('say a', {response_format: {type: 'json_schema', json_schema: {schema: {}}}}), 400, {param: 'response_format', message: /name/}));
test('a format that is not known', () => refused(chat('say a', {response_format: {type: 'grammar'}}), 400, {param: 'response_format'}));
test('a schema refused before a stream has its status', () => refused(chat('say a', {stream: true, ...jsonSchema({not: {}})}), 400, {param: 'response_format'}));
test('two answers', () => refused(chat('say a', {n: 2}), 400, {param: 'n'}));
test('tools', () => refused(chat('say a', {tools: [{type: 'function', function: {name: 'f'}}]}), 400, {param: 'tools'}));
test('penalties', () => refused(chat('say a', {presence_penalty: 1}), 400, {param: 'presence_penalty'}));
test('an unknown member', () => refused(chat('say a', {temprature: 1}), 400, {param: 'temprature'}));
test('a temperature of 101', () => refused(chat('say a', {temperature: 101}), 400, {param: 'temperature', type: 'invalid_request_error'}));
test('no messages', () => refused(client.chat.completions.create({model: 'fake', messages: []}), 400, {param: 'messages'}));
test('a remote picture', () => refused(chat([{type: 'image_url', image_url: {url: 'https://example.org/cat.png'}}]), 400, {code: 'invalid_image_url', message: /fetches no remote pictures/}));
test('a picture that is none', () => refused(chat([{type: 'image_url', image_url: {url: 'data:image/png;base64,aGVsbG8='}}]), 400, {code: 'invalid_image_format'}));
test('low detail', () => refused(chat([picture('low'), words('say a')]), 400, {message: /detail/}));
test('a context that is full', async () => assert.ok(await refused(chat('fail full'), 400, {code: 'context_length_exceeded'}) instanceof OpenAI.BadRequestError));
test('a device that is lost', async () => assert.ok(await refused(chat('fail lost'), 503, {code: 'device_lost'}) instanceof OpenAI.InternalServerError));
test('an error before a stream has its status', () => refused(chat('fail full', {stream: true}), 400, {code: 'context_length_exceeded'}));
test('a wrong key', async () => assert.ok(
    await refused(connect(locked.port, 'wrong').chat.completions.create({model: 'fake', messages: [{role: 'user', content: 'say a'}]}), 401, {code: 'invalid_api_key'}) instanceof OpenAI.AuthenticationError));
test('the right key', async () => assert.equal(
    (await connect(locked.port, 'sesame').chat.completions.create({model: 'fake', messages: [{role: 'user', content: 'say a'}]})).choices[0].message.content, 'a'));
test('a path that is not there', () => refused(client.embeddings.create({model: 'fake', input: 'x'}), 404, {code: 'not_found'}));

// --- Models, queue ------------------------------------------------------------------------------------------------------------

test('models', async () => {
  const all = [];
  for await (const model of client.models.list()) all.push(model);
  assert.deepEqual(all.map(({id, object, owned_by}) => [id, object, owned_by]), [['fake', 'model', 'vl2']]);
});
test('many at a time, a full queue, and the client\'s own retries: all are answered', async () => {
  const patient = connect(open.port, 'none', {maxRetries: 10});
  const answers = await Promise.all(Array.from({length: 12}, (_, i) => patient.chat.completions.create(
      {model: 'fake', messages: [{role: 'user', content: `say number ${i}`}]})));
  assert.deepEqual(answers.map(({choices}) => choices[0].message.content), Array.from({length: 12}, (_, i) => `number ${i}`));
});
test('429 when the queue is full, with Retry-After', async () => {
  const controllers = Array.from({length: 4}, () => new AbortController());
  const held = controllers.map(({signal}) => client.chat.completions.create({model: 'fake', messages: [{role: 'user', content: 'hold'}]}, {signal}).catch(() => {}));
  await until(async () => await metric('vl2_requests_waiting') === 2);
  const error = await refused(chat('say a'), 429, {code: 'queue_full', type: 'rate_limit_error'});
  assert.ok(error instanceof OpenAI.RateLimitError);
  assert.ok(Number(error.headers.get('retry-after')) >= 1);
  controllers.forEach((controller) => controller.abort());
  await Promise.all(held);
  await until(async () => await metric('vl2_slots_busy') === 0);
});

let failed = 0, ran = 0;
for (const {name, body} of cases.filter((one) => one.name.includes(only))) {
  ++ran;
  try {
    await body();
    console.log(`ok      ${name}`);
  } catch (error) {
    ++failed;
    console.log(`FAILED  ${name}\n  ${error.stack ?? error}`);
  }
}
await Promise.all([open.end(), locked.end()]);
if (!ran) giveUp(`--only: no case has "${only}" in its name`);
console.log(`openai_client: ${ran - failed} of ${ran} cases passed`);
process.exit(failed ? 1 : 0);
