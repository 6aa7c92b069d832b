// The page of `vl2 serve`: one conversation with pictures. The server keeps nothing between two questions; the page does.
import {chat, getJson, postJson, Refused, useKey} from './api.js';
import {BoxView} from './boxes.js';
import {markdown} from './markdown.js';
import {openPicture} from './pictures.js';

const $ = (id) => document.getElementById(id);
const limits = {maxPictures: 8, maxPixels: 64e6, maxBodyBytes: 64 * 2 ** 20};  // until the server says its own
const kPrompts = {
  ask: (text) => text,
  locate: (text) => `<|ref|>${text}<|/ref|>.`,
  describe: (text) => `<|grounding|>${text || 'Describe the picture.'}`,
};  // as DeepSeek-VL2 was trained to be asked
const kFinish = {
  length: 'Stopped at the longest answer that was asked for, or at the end of the context.',
  stopped: 'Stopped by you.',
};

let model = null;        // its name, once the server has told it
let turns = [];          // {role: 'user', text, sent, pictures} and {role: 'assistant', text, tagged, answer}
let pending = [];        // pictures of the question being written
let opening = 0;         // picture files being opened now
let running = null;      // AbortController of the answer being written
let usedTokens = 0;      // prompt and answer of the last turn
let planNumber = 0;

function button(text, title, action) {
  const node = document.createElement('button');
  node.type = 'button';
  node.textContent = text;
  if (title) node.setAttribute('aria-label', title);
  node.addEventListener('click', action);
  return node;
}

function say(text) {
  $('announce').textContent = text;
}

function complain(text) {
  $('error').textContent = text;
  $('error').hidden = !text;
}

async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // no clipboard for pages from another machine without TLS; this way works there
    const area = document.body.appendChild(document.createElement('textarea'));
    area.value = text;
    area.select();
    document.execCommand('copy');
    area.remove();
    from.focus();
  }
  say('Copied');
  const was = from.textContent;
  from.textContent = 'Copied';
  from.disabled = true;
  setTimeout(() => {
    from.textContent = was;
    from.disabled = false;
  }, 1200);
}

// --- Pictures of the question -------------------------------------------------------------------------------------------------

function allPictures() {
  return turns.flatMap((turn) => turn.pictures ?? []);
}

async function addFiles(files) {
  complain('');
  for (const file of files) {
    if (allPictures().length + pending.length + opening >= limits.maxPictures) {
      complain(`${file.name || 'the picture'}: a conversation holds at most ${limits.maxPictures} pictures`);
      break;
    }
    ++opening;
    try {
      pending.push(await openPicture(file, limits));
    } catch (error) {
      complain(error.message);
    } finally {
      --opening;
    }
  }
  showPending();
  $('question').focus();
}

function showPending() {
  $('pictures').replaceChildren(...pending.map((picture, i) => {
    const item = document.createElement('li');
    const image = item.appendChild(document.createElement('img'));
    image.src = picture.url;
    image.alt = picture.name;
    const caption = item.appendChild(document.createElement('span'));
    caption.className = 'tiles';
    item.append(button('×', `Remove ${picture.name}`, () => {
      URL.revokeObjectURL(picture.url);
      pending.splice(i, 1);
      showPending();
      ($('pictures').querySelectorAll('button')[Math.min(i, pending.length - 1)] ?? $('choose')).focus();
    }));
    return item;
  }));
  $('pictures').hidden = pending.length === 0;
  if (pending.length) $('welcome').hidden = true;
  plan();
}

function tilesText(one) {
  const tiles = one.tiles_wide * one.tiles_high;
  return `${one.width} × ${one.height} · ${one.tiles_wide} × ${one.tiles_high} ${tiles === 1 ? 'tile' : 'tiles'} · ${one.tokens} tokens`;
}

// What the question will cost, from the server that will cut the pictures. Later calls overtake earlier ones.
async function plan() {
  const number = ++planNumber, before = allPictures(), pictures = [...before, ...pending];
  if (pictures.length === 0) {
    showBudget(null, 0);
    return;
  }
  try {
    const answer = await postJson('/v1/images/plan', {images: pictures.map(({width, height}) => ({width, height}))});
    if (number !== planNumber) return;
    answer.images.slice(before.length).forEach((one, i) => {
      const caption = $('pictures').children[i]?.querySelector('.tiles');
      if (caption) caption.textContent = tilesText(one);
    });
    showBudget(answer, pictures.length);
  } catch (error) {
    if (number === planNumber) refused(error);
  }
}

function showBudget(answer, count) {
  const context = answer?.context ?? limits.context;
  const pictureTokens = answer?.tokens ?? 0;
  const fresh = answer ? answer.images.slice(count - pending.length).reduce((sum, one) => sum + one.tokens, 0) : 0;
  // A third picture has the first two cut anew: what they cost before says nothing then.
  const used = Math.max(usedTokens + fresh, pictureTokens);
  $('budget').hidden = !used || !context;
  if ($('budget').hidden) return;
  const share = used / context;
  $('budget-meter').value = Math.min(share, 1);
  $('budget').classList.toggle('over', share >= 1);
  const parts = [`${used} of ${context} tokens`];
  if (pictureTokens) parts.push(`${pictureTokens} for ${count === 1 ? 'the picture' : `${count} pictures`}`);
  if (answer && count > 2 && !answer.tiled) parts.push('more than two pictures: each is seen as one tile');
  if (share >= 1) parts.push('this does not fit');
  $('budget-text').textContent = parts.join(' · ');
}

// --- The conversation ---------------------------------------------------------------------------------------------------------

function showUserTurn(turn) {
  const node = document.createElement('article');
  node.className = 'user';
  node.setAttribute('aria-label', 'You');
  if (turn.pictures.length) {
    const list = node.appendChild(document.createElement('div'));
    list.className = 'thumbs';
    for (const picture of turn.pictures) {
      const image = list.appendChild(document.createElement('img'));
      image.src = picture.url;
      image.alt = picture.name;
    }
  }
  const text = node.appendChild(document.createElement('p'));
  text.textContent = turn.text;
  text.dir = 'auto';
  $('log').append(node);
  return node;
}

/** An answer on the page while it grows. */
class Answer {
  constructor(pictures) {
    this.node = document.createElement('article');
    this.node.className = 'assistant';
    this.node.setAttribute('aria-label', 'Answer');
    this.node.setAttribute('aria-busy', 'true');
    this.body = this.node.appendChild(document.createElement('div'));
    this.body.className = 'text';
    this.body.dir = 'auto';
    this.boxes = new BoxView(pictures, copy);
    this.note = document.createElement('p');
    this.note.className = 'note';
    this.tools = document.createElement('div');
    this.tools.className = 'tools';
    this.text = '';
    this.frame = 0;
    $('log').append(this.node);
    follow(true);
  }

  add(text) {
    this.text += text;
    this.frame ||= requestAnimationFrame(() => this.show());
  }

  show() {
    this.frame = 0;
    const atEnd = isAtEnd();
    this.body.replaceChildren(...markdown(this.text));
    follow(atEnd);
  }

  showBoxes(boxes) {
    const atEnd = isAtEnd();
    this.boxes.update(boxes);
    if (this.boxes.boxes.length && !this.boxes.node.isConnected) this.body.after(this.boxes.node);
    follow(atEnd);
  }

  finish(note, again) {
    cancelAnimationFrame(this.frame);
    this.show();
    this.node.removeAttribute('aria-busy');
    this.tools.append(button('Copy', 'Copy the answer', (event) => copy(this.text, event.currentTarget)),
                      button('Regenerate', 'Answer again', again));
    this.note.textContent = note;
    this.node.append(...(note ? [this.note] : []), this.tools);
    follow(true);
  }
}

function isAtEnd() {
  const page = document.scrollingElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 80;
}

function follow(wanted) {
  if (wanted) document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

function message(turn) {
  if (turn.role === 'assistant') return {role: 'assistant', content: turn.tagged ?? turn.text};
  const images = turn.pictures.map(({data}) => ({type: 'image_url', image_url: {url: data}}));
  return {role: 'user', content: images.length ? [...images, {type: 'text', text: turn.sent}] : turn.sent};
}

function requestBody(again) {
  const number = (id) => $(id).value.trim() === '' ? undefined : Number($(id).value);
  const body = {model, messages: turns.map(message), temperature: number('temperature'), max_tokens: number('max-tokens'),
                seed: number('seed')};
  if (body.seed === undefined && again) body.seed = Math.floor(Math.random() * 2 ** 31);
  return body;
}

function setRunning(controller) {
  running = controller;
  $('send').hidden = controller !== null;
  $('stop').hidden = controller === null;
  $('new-chat').disabled = controller !== null;
  for (const node of $('log').querySelectorAll('.tools')) node.hidden = controller !== null;
}

// Asks with what is in `turns`, whose last is the user's, and adds the answer to it.
async function answer(again = false) {
  const controller = new AbortController();
  setRunning(controller);
  const shown = new Answer(allPictures());
  const turn = {role: 'assistant', text: '', answer: shown};
  let note = '', failure = null;
  try {
    for await (const part of chat(requestBody(again), controller.signal)) {
      if (part.text) shown.add(part.text);
      if (part.boxes) shown.showBoxes(part.boxes);
      if (part.tagged !== undefined) turn.tagged = part.tagged;
      if (part.finish) note = kFinish[part.finish] ?? '';
      if (part.usage) usedTokens = part.usage.prompt_tokens + part.usage.completion_tokens;
    }
  } catch (error) {
    if (controller.signal.aborted) note = kFinish.stopped;
    else failure = error;
  }
  turn.text = shown.text;
  const empty = failure && !turn.text;
  if (failure) refused(failure);
  if (empty) {  // nothing came: the question goes back to where it was written
    shown.node.remove();
    takeBack();
  } else {
    turns.push(turn);
    shown.finish(failure ? failure.message : note, () => regenerate(turn));
    say(`Answer: ${shown.body.innerText}`);
  }
  setRunning(null);
  showOnlyLastRegenerate();
  plan();
}

function takeBack() {
  const turn = turns.pop();
  turn.node.remove();
  pending = [...turn.pictures, ...pending];
  if (!$('question').value) $('question').value = turn.text;
  showPending();
}

function showOnlyLastRegenerate() {
  const all = turns.filter((turn) => turn.role === 'assistant');
  all.forEach((turn, i) => turn.answer.tools.lastChild.hidden = i + 1 < all.length);
}

function regenerate(turn) {
  if (running || turns.at(-1) !== turn) return;
  turns.pop();
  turn.answer.node.remove();
  $('question').focus();
  answer(true);
}

function send() {
  if (running || opening) return;
  const mode = $('mode').value, text = $('question').value.trim();
  if (!text && mode !== 'describe') {
    complain(mode === 'ask' ? 'Write a question first.' : 'Write what to find first.');
    $('question').focus();
    return;
  }
  const bytes = [...allPictures(), ...pending].reduce((sum, picture) => sum + picture.data.length, 0);
  if (bytes > limits.maxBodyBytes * 0.98) {  // the rest is for the text
    complain(`These pictures are ${Math.ceil(bytes / 2 ** 20)} MiB together; the server takes ${Math.floor(limits.maxBodyBytes / 2 ** 20)}.`);
    return;
  }
  if (!allPictures().length && !pending.length && mode !== 'ask') {
    complain('Add a picture first.');
    return;
  }
  complain('');
  const turn = {role: 'user', text: text || 'Describe the picture.', sent: kPrompts[mode](text), pictures: pending};
  turn.node = showUserTurn(turn);
  turns.push(turn);
  pending = [];
  $('welcome').hidden = true;
  $('question').value = '';
  showPending();
  answer();
}

function newChat() {
  for (const picture of [...allPictures(), ...pending]) URL.revokeObjectURL(picture.url);
  turns = [];
  pending = [];
  usedTokens = 0;
  $('log').replaceChildren();
  $('welcome').hidden = false;
  complain('');
  showPending();
  $('question').focus();
}

// --- The server ---------------------------------------------------------------------------------------------------------------

function refused(error) {
  if (error instanceof Refused && error.status === 401) {
    $('key-row').hidden = false;
    $('key').focus();
    complain('This server wants an API key.');
  } else if (error instanceof Refused && error.status === 429) {
    complain(`The server is busy. Try again${error.retryAfter ? ` in ${error.retryAfter} s` : ''}.`);
  } else if (error instanceof Refused) {
    complain(error.message);
  } else {
    complain(`The server cannot be reached (${error.message}).`);
  }
}

async function connect() {
  try {
    const {data: [first]} = await getJson('/v1/models');
    model = first.id;
    const own = first.vl2 ?? {};
    limits.context = own.context;
    limits.maxPictures = own.max_pictures ?? limits.maxPictures;
    limits.maxPixels = own.max_pixels ?? limits.maxPixels;
    limits.maxBodyBytes = own.max_body_bytes ?? limits.maxBodyBytes;
    $('model').textContent = own.context ? `${model} · ${own.context} tokens of context` : model;
    document.title = `${model} · vl2`;
  } catch (error) {
    $('model').textContent = 'not connected';
    refused(error);
  }
}

// --- Mouse, keyboard, clipboard -----------------------------------------------------------------------------------------------

function listen() {
  for (const id of ['choose', 'welcome-choose']) $(id).addEventListener('click', () => $('files').click());
  $('files').addEventListener('change', () => {
    addFiles([...$('files').files]);
    $('files').value = '';
  });
  $('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    send();
  });
  $('question').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $('stop').addEventListener('click', () => {
    running?.abort();
    $('question').focus();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && running) running.abort();
  });
  $('new-chat').addEventListener('click', newChat);
  const takeKey = () => {
    useKey($('key').value);
    $('key').value = '';
    $('key-row').hidden = true;
    complain('');
    connect().then(plan);
  };
  $('use-key').addEventListener('click', takeKey);
  $('key').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    takeKey();
  });
  document.addEventListener('paste', (event) => {
    const files = [...event.clipboardData.files].filter((file) => file.type.startsWith('image/'));
    if (!files.length) return;
    event.preventDefault();
    addFiles(files);
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop-here').hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) $('drop-here').hidden = true;
  });
  document.addEventListener('drop', (event) => {
    $('drop-here').hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    addFiles([...event.dataTransfer.files]);
  });
}

listen();
connect();
