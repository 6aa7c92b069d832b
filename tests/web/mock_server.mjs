// A stand-in for `vl2 serve` that says what a test wants: the page's own files with its own policy, and scripted answers.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const kTypes = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8'};

export const kContext = 4096;

/** An event of a streaming answer. */
export function textChunk(text) {
  return {object: 'chat.completion.chunk', choices: [{index: 0, delta: {content: text}, finish_reason: null}]};
}

export function boxesChunk(boxes, text = '') {
  return {...textChunk(text), vl2: {boxes}};
}

export function lastChunks(prompt = 20, completion = 5, extra = {}) {
  return [
    {object: 'chat.completion.chunk', choices: [{index: 0, delta: {}, finish_reason: 'stop'}], ...extra},
    {object: 'chat.completion.chunk', choices: [], usage: {prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion}},
  ];
}

/** Serves the page in `folder` on a free port of 127.0.0.1. */
export async function startMock(folder) {
  const policy = fs.readFileSync(path.join(folder, 'policy.txt'), 'utf8').trim();
  const mock = {
    policy,
    requests: [],    // {method, url, headers, body} of everything but the page's files
    aborted: 0,      // answers whose client left before their end
    apiKey: null,    // asked for when set
    refuse: null,    // {status, headers, error} for the next question
    cut: null,       // bytes -> list of pieces: how the stream is cut
    lineEnd: '\n',
    plan: (images) => images.map(({width, height}) => ({width, height, tiles_wide: 2, tiles_high: 1, tokens: 817})),
    script: async function* () {},  // body -> chunks
  };

  const send = (response, status, value, headers = {}) => {
    response.writeHead(status, {'content-type': 'application/json', ...headers});
    response.end(JSON.stringify(value));
  };

  async function answer(body, response) {
    response.writeHead(200, {'content-type': 'text/event-stream', 'cache-control': 'no-store'});
    let gone = false;
    response.on('close', () => {
      gone = !response.writableFinished;
      if (gone) ++mock.aborted;
    });
    const write = async (text) => {
      const bytes = Buffer.from(text.replaceAll('\n', mock.lineEnd));
      for (const piece of mock.cut ? mock.cut(bytes) : [bytes]) {
        if (gone) return;
        await new Promise((resolve) => response.write(piece, resolve));
        if (mock.cut) await new Promise(setImmediate);
      }
    };
    for await (const chunk of mock.script(body, () => gone)) {
      if (gone) return;
      if (chunk === 'break') return response.destroy();
      await write(`data: ${JSON.stringify(chunk)}\n\n`);
    }
    await write('data: [DONE]\n\n');
    response.end();
  }

  async function handle(request, response) {
    const name = request.url === '/' ? 'index.html' : request.url.slice(1), type = kTypes[path.extname(name)];
    if (request.method === 'GET' && type && /^[a-z]+\.[a-z]+$/.test(name) && fs.existsSync(path.join(folder, name))) {
      response.writeHead(200, {'content-type': type, 'content-security-policy': policy, 'x-content-type-options': 'nosniff'});
      response.end(fs.readFileSync(path.join(folder, name)));
      return;
    }
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = parts.length ? JSON.parse(Buffer.concat(parts)) : null;
    mock.requests.push({method: request.method, url: request.url, headers: request.headers, body});
    const {authorization} = request.headers;
    if (mock.apiKey && authorization !== `Bearer ${mock.apiKey}`)
      return send(response, 401, {error: {message: 'wrong key', type: 'authentication_error', param: null, code: 'invalid_api_key'}});
    if (request.url === '/v1/models')
      return send(response, 200, {
        object: 'list',
        data: [{id: 'mock-model', object: 'model', owned_by: 'vl2',
                vl2: {context: kContext, max_pictures: 8, max_pixels: 64e6, max_body_bytes: 64 * 2 ** 20}}],
      });
    if (request.url === '/v1/images/plan') {
      const images = mock.plan(body.images);
      return send(response, 200, {object: 'vl2.image_plan', images, tokens: images.reduce((sum, one) => sum + one.tokens, 0),
                                  tiled: images.length <= 2, context: kContext});
    }
    if (request.url === '/v1/chat/completions') {
      if (mock.refuse) {
        const {status, headers, error} = mock.refuse;
        mock.refuse = null;
        return send(response, status, {error}, headers);
      }
      return answer(body, response);
    }
    send(response, 404, {error: {message: `no such path: ${request.url}`, type: 'invalid_request_error', param: null, code: null}});
  }

  const server = http.createServer((request, response) => {
    handle(request, response).catch((error) => {
      console.error('mock:', error);
      response.destroy();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  mock.url = `http://127.0.0.1:${server.address().port}/`;
  mock.questions = () => mock.requests.filter(({url}) => url === '/v1/chat/completions').map(({body}) => body);
  mock.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return mock;
}
