// Markdown to DOM nodes. Text becomes text nodes and nothing else: no HTML of an answer is ever parsed, no picture in it loaded.
//
// Headings, paragraphs, lists, quotes, code, tables, rules; bold, italics, struck out, code, links to http, https and mailto.

const kFence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const kHeading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const kRule = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const kItem = /^( *)([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const kQuote = /^ {0,3}> ?(.*)$/;
const kTableRule = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const kDeepest = 12;  // lists in quotes in lists: deeper ones are shown as text

function element(name, ...children) {
  const node = document.createElement(name);
  node.append(...children);
  return node;
}

/** A link's target when following it cannot run anything; null for javascript:, data: and all else. */
export function safeLink(target) {
  try {
    const url = new URL(target);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;  // relative ones too: there is nothing here that an answer could mean
  }
}

function link(label, target) {
  const href = safeLink(target);
  if (href === null) return element('span', ...label, ` (${target})`);
  const node = element('a', ...label);
  node.href = href;
  node.rel = 'noopener noreferrer nofollow';
  node.target = '_blank';
  return node;
}

// What may stand at a place in a line, first match wins. Each gives nodes or null.
const kInline = [
  [/^\\([!-/:-@[-`{-~])/, (m) => [m[1]]],
  [/^(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/, (m) => [element('code', m[2].replace(/^ (.*\S.*) $/s, '$1'))]],
  [/^!?\[([^[\]]*)\]\(\s*<?([^\s<>()]*)>?(?:\s+"[^"]*")?\s*\)/, (m, deep) => [link(inline(m[1], deep), m[2])]],
  [/^<((?:https?:\/\/|mailto:)[^\s<>]*)>/, (m) => [link([m[1]], m[1])]],
  [/^https?:\/\/[^\s<>"'`)\]]*[^\s<>"'`)\].,;:!?]/, (m) => [link([m[0]], m[0])]],
  [/^(\*\*|__)(?=\S)([\s\S]*?\S)\1/, (m, deep) => [element('strong', ...inline(m[2], deep))]],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (m, deep) => [element('del', ...inline(m[1], deep))]],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, (m, deep) => [element('em', ...inline(m[1], deep))]],
  [/^_(?=[^\s_])([\s\S]*?[^\s_])_(?![\w_])/, (m, deep, before) => /\w/.test(before) ? null : [element('em', ...inline(m[1], deep))]],
  [/^ {2,}\n|^\n/, () => [document.createElement('br')]],
];
const kInlineStart = /[\\`!\[<*_~\n]| {2,}\n|https?:\/\//g;
const kLongestInline = 2000;  // characters one mark may span: keeps hostile text from costing its square

/** Nodes of the marks inside a paragraph. */
export function inline(text, deep = 0) {
  const nodes = [];
  let plain = '';
  const flush = () => {
    if (plain) nodes.push(plain);
    plain = '';
  };
  let at = 0;
  while (at < text.length) {
    kInlineStart.lastIndex = at;
    const next = deep < kDeepest ? kInlineStart.exec(text) : null;
    if (next === null) {
      plain += text.slice(at);
      break;
    }
    plain += text.slice(at, next.index);
    at = next.index;
    const rest = text.slice(at, at + kLongestInline);
    let found = null, length = 1;
    for (const [pattern, make] of kInline) {
      const match = pattern.exec(rest);
      found = match && make(match, deep + 1, text[at - 1] ?? ' ');
      if (found) {
        length = match[0].length;
        break;
      }
    }
    if (found) {
      flush();
      nodes.push(...found);
    } else {
      plain += text[at];
    }
    at += length;
  }
  flush();
  return nodes;
}

function codeBlock(lines, start, fence) {
  const close = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},}\\s*$`);
  let end = start + 1;
  while (end < lines.length && !close.test(lines[end])) ++end;
  const code = element('code', lines.slice(start + 1, end).join('\n'));
  const block = element('pre', code);
  block.tabIndex = 0;  // it scrolls sideways: reachable by keyboard
  return [block, Math.min(end + 1, lines.length)];
}

function cells(line) {
  return line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '').split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

function table(lines, start) {
  const head = cells(lines[start]);
  const row = (name, texts) => element('tr', ...head.map((_, i) => element(name, ...inline(texts[i] ?? ''))));
  const body = document.createElement('tbody');
  let end = start + 2;
  for (; end < lines.length && lines[end].includes('|') && lines[end].trim(); ++end) body.append(row('td', cells(lines[end])));
  const frame = element('div', element('table', element('thead', row('th', head)), body));
  frame.className = 'table';
  frame.tabIndex = 0;
  return [frame, end];
}

function list(lines, start, deep) {
  const first = kItem.exec(lines[start]);
  const ordered = /\d/.test(first[2]), indent = first[1].length;
  const node = document.createElement(ordered ? 'ol' : 'ul');
  if (ordered && parseInt(first[2], 10) !== 1) node.start = parseInt(first[2], 10);
  let at = start;
  while (at < lines.length) {
    const item = kItem.exec(lines[at]);
    if (!item || item[1].length < indent || item[1].length > indent + 1 || /\d/.test(item[2]) !== ordered || kRule.test(lines[at])) break;
    const content = [item[4]];
    const inner = item[1].length + item[2].length + Math.min(item[3].length, 4);
    for (++at; at < lines.length; ++at) {
      const depth = lines[at].search(/\S/);
      if (depth < 0) {
        const next = lines.slice(at + 1).find((line) => line.trim());
        if (next === undefined || next.search(/\S/) <= indent) break;
        content.push('');
      } else if (depth > indent && (depth >= Math.min(inner, indent + 2) || !kItem.test(lines[at]))) {
        content.push(lines[at].slice(Math.min(depth, inner)));
      } else if (kItem.test(lines[at]) || content.at(-1) === '' || startsBlock(lines, at)) {
        break;
      } else {
        content.push(lines[at].trim());  // a paragraph that goes on without its indent
      }
    }
    const inside = blocks(content, deep + 1);
    // One paragraph alone, or one before a list inside, needs no space around it.
    if (inside[0]?.nodeName === 'P' && inside.slice(1).every((block) => ['UL', 'OL'].includes(block.nodeName)))
      inside.splice(0, 1, ...inside[0].childNodes);
    node.append(element('li', ...inside));
    while (at < lines.length && !lines[at].trim() && kItem.test(lines[at + 1] ?? '')) ++at;
  }
  return [node, at];
}

function startsBlock(lines, at) {
  const line = lines[at];
  return kFence.test(line) || kHeading.test(line) || kRule.test(line) || kQuote.test(line) ||
      (kItem.test(line) && kItem.exec(line)[1].length < 4) || (line.includes('|') && kTableRule.test(lines[at + 1] ?? ''));
}

function blocks(lines, deep) {
  if (deep > kDeepest) return [element('p', lines.join('\n'))];
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = kFence.exec(line), heading = kHeading.exec(line);
    let node;
    if (!line.trim()) {
      ++at;
      continue;
    } else if (fence) {
      [node, at] = codeBlock(lines, at, fence);
    } else if (heading) {
      node = element(`h${Math.min(heading[1].length + 2, 6)}`, ...inline(heading[2]));  // h1 and h2 are the page's
      ++at;
    } else if (kRule.test(line)) {
      node = document.createElement('hr');
      ++at;
    } else if (kQuote.test(line)) {
      const quoted = [];
      for (; at < lines.length && kQuote.test(lines[at]); ++at) quoted.push(kQuote.exec(lines[at])[1]);
      node = element('blockquote', ...blocks(quoted, deep + 1));
    } else if (kItem.test(line)) {
      [node, at] = list(lines, at, deep);
    } else if (line.includes('|') && kTableRule.test(lines[at + 1] ?? '')) {
      [node, at] = table(lines, at);
    } else {
      const text = [];
      do text.push(lines[at++].trimStart());
      while (at < lines.length && lines[at].trim() && !startsBlock(lines, at));
      node = element('p', ...inline(text.join('\n')));
    }
    nodes.push(node);
  }
  return nodes;
}

/** Nodes of a whole answer; `text` may stop anywhere, as it does while it streams. */
export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, '\n').replaceAll('\t', '    ').split('\n'), 0);
}
