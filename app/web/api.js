// Talks to the server that sent the page: JSON requests, and answers that stream as server-sent events.

let key = sessionStorage.getItem('vl2-key') ?? '';

/** The API key for all that follows; kept until the tab closes. */
export function useKey(text) {
  key = text;
  sessionStorage.setItem('vl2-key', key);
}

/** What the server refused: its message, its status, and the seconds after which it wants to be asked again (or null). */
export class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function refusal(response) {
  let message = `the server said ${response.status} ${response.statusText}`.trim();
  try {
    message = (await response.json()).error.message;
  } catch {
    // not one of its error objects: the status has to do
  }
  const after = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return new Refused(message, response.status, Number.isFinite(after) ? after : null);
}

async function request(path, body, signal) {
  const headers = key ? {authorization: `Bearer ${key}`} : {};
  if (body !== undefined) headers['content-type'] = 'application/json';
  const method = body === undefined ? 'GET' : 'POST';
  const response = await fetch(path, {method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal});
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function getJson(path, signal) {
  return (await request(path, undefined, signal)).json();
}

export async function postJson(path, body, signal) {
  return (await request(path, body, signal)).json();
}

/** The data of each event in a stream of bytes, however the bytes are cut. Source: HTML, "Server-sent events", 9.2.6. */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', data = [];
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      rest += value;
      // A CR at the very end may be half of a CR LF: it waits.
      for (let m; (m = /\r\n|\n|\r(?!$)/.exec(rest));) {
        const line = rest.slice(0, m.index);
        rest = rest.slice(m.index + m[0].length);
        if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
        else if (line === '' && data.length) {
          yield data.join('\n');
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Asks for an answer and hands out its parts as they come: {text}, {boxes}, {tagged}, {finish}, {usage}.
 * `boxes` is the whole list so far. Throws Refused, or what fetch throws; AbortError after signal's abort.
 */
export async function* chat(body, signal) {
  const response = await request('/v1/chat/completions', {...body, stream: true, stream_options: {include_usage: true}}, signal);
  let ended = false;
  for await (const data of events(response.body)) {
    if (data === '[DONE]') {
      ended = true;
      break;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(chunk.error.message, 500, null);
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) yield {text: choice.delta.content};
    if (chunk.vl2?.boxes) yield {boxes: chunk.vl2.boxes};
    if (chunk.vl2?.tagged_text !== undefined) yield {tagged: chunk.vl2.tagged_text};
    if (choice?.finish_reason) yield {finish: choice.finish_reason};
    if (chunk.usage) yield {usage: chunk.usage};
  }
  if (!ended) throw new Refused('the connection ended before the answer did', 0, null);
}
