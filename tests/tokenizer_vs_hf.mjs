// Compares `vl2 tokenize` with Hugging Face's `tokenizers` library on random texts, ids and byte strings.
//
// Usage   node tests/tokenizer_vs_hf.mjs --vl2 build/release/vl2 --work build/release/tokenizer_vs_hf [--count 100000]
//              [--stride 1] [--seed 1] [--speed]
//         --count   texts and id sequences for each comparison; the default is the full size, ctest takes 5000
//         --stride  every how manieth code point has its classes tested, beside those at the borders of classes;
//                   ctest takes 1000
//         --speed   also measures both on 10 MB of English-like text, and vl2 on 1 MB of one character
// Needs   node 18 and npm, which fetches the library and the V3 vocabulary into the --work folder once; fails when it cannot.
// Prints  how much was compared in each way and the first differences; exit status 1 if there is any.
//
// Three vocabularies: V3's with the tokens of DeepSeek-VL2, and two in which any two bytes merge, with the pre-tokenizers of V3
// and of the 100k family. In those every place where a piece ends shows in the ids, where a real vocabulary has few merges
// across it.
import {execFileSync, spawnSync} from 'node:child_process';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

import {codePointTexts, englishLikeText, Random, randomBytes, randomIds, randomText} from './support/tokenizer_texts.mjs';

const {values: options} = parseArgs({
  options: {
    vl2: {type: 'string'},
    work: {type: 'string'},
    count: {type: 'string', default: '100000'},
    stride: {type: 'string', default: '1'},
    seed: {type: 'string', default: '1'},
    speed: {type: 'boolean', default: false},
  },
});

function giveUp(message) {
  console.error(`tokenizer_vs_hf: ${message}`);
  process.exit(1);
}

function positive(name) {
  const number = Number(options[name]);
  if (!Number.isInteger(number) || number < 1) giveUp(`--${name}: got ${options[name]}, wanted a whole number from 1`);
  return number;
}

const count = positive('count'), stride = positive('stride'), seed = positive('seed');
if (options.vl2 === undefined || options.work === undefined) giveUp('wanted --vl2 PROGRAM and --work FOLDER');
const vl2 = path.resolve(options.vl2), work = path.resolve(options.work);
process.env.TOKENIZERS_PARALLELISM = 'false';  // one thread each, so that the speeds say something

// --- The library and the vocabularies -----------------------------------------------------------------------------------------

const kLibrary = 'tokenizers@0.23.2';  // Apache-2.0, from the authors of the library, compiled

function fetchLibrary() {
  const [name, version] = kLibrary.split('@');
  const folder = path.join(work, 'node_modules', name);
  const has = () => fs.existsSync(path.join(folder, 'package.json')) &&
      JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).version === version;
  if (!has()) {
    try {
      execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', work, kLibrary],
                   {cwd: work, stdio: ['ignore', 'ignore', 'inherit']});
    } catch (error) {
      giveUp(`npm could not fetch ${kLibrary}: ${error.message}`);
    }
    if (!has()) giveUp(`npm left no ${kLibrary} in ${folder}`);
  }
  return createRequire(path.join(work, 'here.js'))(name);
}

function fetchV3() {
  const folder = path.join(work, 'v3');
  const script = path.join(path.dirname(fileURLToPath(import.meta.url)), 'fetch_tokenizer.sh');
  try {
    execFileSync('sh', [script, folder], {stdio: 'inherit'});
  } catch {
    giveUp('the V3 vocabulary could not be fetched');
  }
  return JSON.parse(fs.readFileSync(path.join(folder, 'tokenizer.json'), 'utf8'));
}

const addedToken = (id, content) =>
    ({id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true});
const vl2Tokens = ['<image>', '<|ref|>', '<|/ref|>', '<|det|>', '<|/det|>', '<|grounding|>', '<|User|>', '<|Assistant|>'];

// The pre-tokenizer of the 100k family (DeepSeek-VL2-Small).
const cased = 'A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-\u0373\u0376\u0377' +
    '\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5' +
    '\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45' +
    '\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3' +
    '\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D' +
    '\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D' +
    '\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A' +
    '\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}';
const split = (pattern) => ({type: 'Split', pattern: {Regex: pattern}, behavior: 'Isolated', invert: false});
const byteLevel = {type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false};
const preTokenizer100k = {
  type: 'Sequence',
  pretokenizers: [
    split('[\r\n]'), split(`\\s?[${cased}]+`), split('\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+'), split('\\s+$'),
    split('[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+'), {type: 'Digits', individual_digits: true}, byteLevel,
  ],
};

// The visible character that stands for a byte in a byte-level vocabulary.
const byteAlphabet = (() => {
  let next = 0x100;
  return Array.from({length: 256}, (_, byte) => {
    const visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte !== 0xAD);
    return String.fromCharCode(visible ? byte : next++);
  });
})();

// A vocabulary of the 256 bytes and, with `pairs`, of every two of them, merged in random order.
function syntheticTokenizer(preTokenizer, pairs) {
  const vocab = {}, merges = [], random = new Random(7);
  let id = 0;
  for (const character of byteAlphabet) vocab[character] = id++;
  if (pairs)
    for (const left of byteAlphabet) for (const right of byteAlphabet) merges.push([left, right]);
  for (let i = merges.length - 1; i > 0; --i) {
    const other = random.below(i + 1);
    [merges[i], merges[other]] = [merges[other], merges[i]];
  }
  for (const [left, right] of merges) vocab[left + right] = id++;
  return {
    version: '1.0', truncation: null, padding: null, added_tokens: [addedToken(id, '<image>'), addedToken(id + 1, '<|User|>')],
    normalizer: null, pre_tokenizer: preTokenizer, post_processor: null, decoder: byteLevel,
    model: {
      type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false,
      byte_fallback: false, vocab, merges,
    },
  };
}

const isControl = (token) => token.special || (token.content.startsWith('<') && token.content.endsWith('>'));

/// A vocabulary as both programs know it: a folder for vl2, and the library with and without the control tokens in its list.
class Vocabulary {
  constructor(library, name, data) {
    this.data = data;
    this.folder = path.join(work, name);
    fs.mkdirSync(this.folder, {recursive: true});
    fs.writeFileSync(path.join(this.folder, 'tokenizer.json'), JSON.stringify(data));
    this.special = library.Tokenizer.fromString(JSON.stringify(data));
    const plain = {...data, added_tokens: data.added_tokens.filter((token) => !isControl(token))};
    this.plain = library.Tokenizer.fromString(JSON.stringify(plain));
  }
}

// --- Running both -------------------------------------------------------------------------------------------------------------

// Input comes from a file: vl2 may end before it has read all of it.
function runVl2(folder, flags, input) {
  const file = path.join(work, 'input');
  fs.writeFileSync(file, input);
  const handle = fs.openSync(file, 'r');
  const begin = performance.now();
  const done = spawnSync(vl2, ['tokenize', '-m', folder, ...flags], {stdio: [handle, 'pipe', 'pipe'], maxBuffer: 2 ** 31 - 1});
  const seconds = (performance.now() - begin) / 1000;
  fs.closeSync(handle);
  if (done.error !== undefined) giveUp(`${vl2} tokenize ${flags.join(' ')}: ${done.error.message}`);
  return {status: done.status, out: done.stdout, error: done.stderr.toString(), seconds};
}

// The seconds that vl2 has a processor for a text, which other work on the machine hardly changes. The shell's `times` prints the
// user and system time of its children in its second line.
function processorSeconds(folder, text) {
  const file = path.join(work, 'input');
  fs.writeFileSync(file, text);
  const out = execFileSync('sh', ['-c', '"$1" tokenize -m "$2" <"$3" >"$3.ids" && times', 'sh', vl2, folder, file]).toString();
  const [, user, system] = /\n(\S+) (\S+)/.exec(out);
  const seconds = [user, system].map((time) => /^(\d+)m([\d.]+)s$/.exec(time));
  return seconds.reduce((sum, [, minutes, rest]) => sum + 60 * Number(minutes) + Number(rest), 0);
}

// One JSON line for each value; strings are written with escapes in every third line.
function jsonLines(values) {
  const escaped = (text) => text.replace(/[^ -~]/g, (unit) => '\\u' + unit.charCodeAt(0).toString(16).padStart(4, '0'));
  return values.map((value, i) => (i % 3 === 0 ? escaped(JSON.stringify(value)) : JSON.stringify(value)) + '\n').join('');
}

function ours(vocabulary, flags, values) {
  const {status, out, error, seconds} = runVl2(vocabulary.folder, ['--jsonl', ...flags], jsonLines(values));
  if (status !== 0) giveUp(`vl2 tokenize --jsonl ${flags.join(' ')}: exit status ${status}: ${error}`);
  const lines = out.toString().split('\n').slice(0, -1);
  if (lines.length !== values.length) giveUp(`vl2 tokenize ${flags.join(' ')}: ${lines.length} lines out for ${values.length} in`);
  return {results: lines.map((line) => JSON.parse(line)), seconds};
}

async function inChunks(values, convert) {
  const begin = performance.now(), results = [];
  for (let at = 0; at < values.length; at += 1000) results.push(...await convert(values.slice(at, at + 1000)));
  return {results, seconds: (performance.now() - begin) / 1000};
}

const theirIds = (tokenizer, texts) => inChunks(texts, async (some) => {
  const encodings = await tokenizer.encodeBatch(some, {addSpecialTokens: false});
  return encodings.map((encoding) => encoding.getIds());
});
const theirTexts = (tokenizer, sequences, skipSpecial) => inChunks(sequences, (some) => tokenizer.decodeBatch(some, skipSpecial));

// --- Comparing ----------------------------------------------------------------------------------------------------------------

let differences = 0;

function compare(name, inputs, mine, other, extent) {
  const differ = [];
  for (let i = 0; i < inputs.length; ++i)
    if (JSON.stringify(mine.results[i]) !== JSON.stringify(other.results[i])) differ.push(i);
  differences += differ.length;
  console.log(`${name}: ${inputs.length} compared, ${extent}, ${differ.length} differ ` +
              `(vl2 ${mine.seconds.toFixed(2)} s with loading, library ${other.seconds.toFixed(2)} s)`);
  for (const i of differ.slice(0, 5))
    console.log(`  of       ${JSON.stringify(inputs[i])}\n  vl2      ${JSON.stringify(mine.results[i])}\n` +
                `  library  ${JSON.stringify(other.results[i])}`);
}

async function compareTexts(name, vocabulary, texts, isSpecial) {
  const mine = ours(vocabulary, isSpecial ? ['--special'] : [], texts);
  const other = await theirIds(isSpecial ? vocabulary.special : vocabulary.plain, texts);
  const ids = other.results.reduce((sum, result) => sum + result.length, 0);
  compare(name, texts, mine, other, `${texts.reduce((sum, text) => sum + [...text].length, 0)} characters, ${ids} ids`);
  return other.results;
}

async function compareDecoding(name, vocabulary, sequences, isSpecial) {
  const mine = ours(vocabulary, ['--decode', ...(isSpecial ? ['--special'] : [])], sequences);
  const other = await theirTexts(vocabulary.special, sequences, !isSpecial);
  compare(name, sequences, mine, other, `${sequences.reduce((sum, ids) => sum + ids.length, 0)} ids`);
}

function isUtf8(bytes) {
  try {
    new TextDecoder('utf-8', {fatal: true}).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

// Runs vl2 once for each input, all from one shell: starting a program is slow for a process as large as this one.
function runEach(vocabulary, inputs) {
  const folder = path.join(work, 'inputs');
  fs.rmSync(folder, {recursive: true, force: true});
  fs.mkdirSync(folder);
  inputs.forEach(({bytes}, i) => fs.writeFileSync(path.join(folder, `${i}`), bytes));
  const lines = inputs.map(({json}, i) => `"$1" tokenize -m "$2"${json ? ' --jsonl' : ''} <${i} >${i}.out 2>${i}.error; echo $?\n`);
  fs.writeFileSync(path.join(folder, 'all.sh'), lines.join(''));
  const states = execFileSync('sh', ['all.sh', vl2, vocabulary.folder], {cwd: folder}).toString().trim().split('\n').map(Number);
  if (states.length !== inputs.length) giveUp(`${states.length} exit statuses for ${inputs.length} inputs`);
  return states.map((status, i) => ({
    status, out: fs.readFileSync(path.join(folder, `${i}.out`)), error: fs.readFileSync(path.join(folder, `${i}.error`), 'utf8'),
  }));
}

// Input that is no UTF-8 is refused: exit status 2, one line on stderr, nothing on stdout. Nearly the same input is taken.
function checkRefusals(vocabulary, random, cases) {
  const quote = (bytes) => Buffer.concat([Buffer.from('"'), bytes, Buffer.from('"\n')]);
  const inputs = [];
  for (let i = 0; i < cases; ++i) {
    const bytes = randomBytes(random), json = i % 2 === 1;
    inputs.push({bytes: json ? quote(bytes) : bytes, json, good: isUtf8(bytes)});
  }
  for (const half of ['\\ud800', '\\udfff', '\\ud800a', '\\ud83d\\ud83d', 'a\\udc00\\ud800'])
    inputs.push({bytes: quote(Buffer.from(half)), json: true, good: false});
  let refused = 0, wrong = 0;
  runEach(vocabulary, inputs).forEach(({status, out, error}, i) => {
    const {bytes, good} = inputs[i];
    const asWanted = good ? status === 0 && error === '' : status === 2 && out.length === 0 && /^[^\n]+\n$/.test(error);
    refused += status === 2 ? 1 : 0;
    if (!asWanted && ++wrong <= 5)
      console.log(`  of ${bytes.toString('hex')}, ${good ? 'UTF-8' : 'not UTF-8'}: exit status ${status}, ${out.length} bytes, ${error}`);
  });
  differences += wrong;
  console.log(`bytes that may be UTF-8 or not: ${inputs.length} tried, ${refused} refused, ${wrong} wrongly`);
}

// --- Speed --------------------------------------------------------------------------------------------------------------------

// Of processor time; quadratic work on 1 MB would take minutes.
const kOneCharacterSeconds = 10;

function checkOneCharacter(vocabulary) {
  const figures = [];
  for (const character of ['a', ' ', '\n', '!', '1', '中', '\u0301', '\x85', '<']) {
    const seconds = processorSeconds(vocabulary.folder, character.repeat(Math.floor(1e6 / Buffer.byteLength(character))));
    if (seconds > kOneCharacterSeconds) ++differences;
    figures.push(`${JSON.stringify(character)} ${seconds.toFixed(2)}`);
  }
  console.log(`1 MB of one character, processor seconds with loading, wanted at most ${kOneCharacterSeconds}: ${figures.join(', ')}`);
}

async function measureSpeed(vocabulary, random) {
  const loads = Array.from({length: 5}, () => processorSeconds(vocabulary.folder, '')).sort((a, b) => a - b);
  console.log(`vl2 starts, loads V3 and ends: ${loads.map((seconds) => seconds.toFixed(2)).join(' ')} processor seconds`);
  const text = englishLikeText(random, 1e7), megabytes = Buffer.byteLength(text) / 1e6;
  const mine = runVl2(vocabulary.folder, [], text);
  const seconds = processorSeconds(vocabulary.folder, text) - loads[2];
  const begin = process.cpuUsage();
  const ids = (await vocabulary.plain.encode(text, null, {addSpecialTokens: false})).getIds();
  const used = process.cpuUsage(begin), theirs = (used.user + used.system) / 1e6;
  if (mine.out.toString() !== ids.join(' ') + '\n') {
    ++differences;
    console.log('10 MB of English-like text: the ids differ');
  }
  console.log(`${megabytes.toFixed(1)} MB of English-like text, ${ids.length} ids, processor time without loading: vl2 ${seconds.toFixed(2)} s = ` +
              `${(megabytes / seconds).toFixed(2)} MB/s, library ${theirs.toFixed(2)} s = ${(megabytes / theirs).toFixed(2)} MB/s`);
}

// --- All of it ----------------------------------------------------------------------------------------------------------------

async function main() {
  fs.mkdirSync(work, {recursive: true});
  const library = fetchLibrary(), base = fetchV3(), random = new Random(seed);
  base.added_tokens.push(...vl2Tokens.map((content, i) => addedToken(128815 + i, content)));
  const v3 = new Vocabulary(library, 'v3_vl2', base);
  const pairsV3 = new Vocabulary(library, 'pairs_v3', syntheticTokenizer(base.pre_tokenizer, true));
  const pairs100k = new Vocabulary(library, 'pairs_100k', syntheticTokenizer(preTokenizer100k, true));
  const bytesOnly = new Vocabulary(library, 'bytes', syntheticTokenizer(preTokenizer100k, false));

  const control = base.added_tokens.filter(({id}) => id < 3 || id >= 128798).map(({content}) => content);
  const tokens = (await v3.special.decodeBatch(Array.from({length: 128000}, (_, id) => [id]), false))
                     .filter((text) => text !== '' && !text.includes('\uFFFD'));
  const texts = Array.from({length: count}, () => randomText(random, tokens, control));
  const encoded = await compareTexts('V3, control tokens ignored', v3, texts, false);
  await compareTexts('V3, control tokens recognised', v3, texts, true);
  await compareTexts('pairs of bytes, V3 pieces', pairsV3, texts, false);
  await compareTexts('pairs of bytes, 100k pieces', pairs100k, texts, false);

  const characters = codePointTexts(stride);
  await compareTexts('code points, V3', v3, characters, false);
  await compareTexts('code points, pairs of bytes, V3 pieces', pairsV3, characters, false);
  await compareTexts('code points, pairs of bytes, 100k pieces', pairs100k, characters, false);

  const addedIds = base.added_tokens.map(({id}) => id);
  const sequences = Array.from({length: count}, () => randomIds(random, 128823, addedIds));
  sequences.push(...encoded.slice(0, Math.ceil(count / 4)));
  await compareDecoding('decode, special tokens left out', v3, sequences, false);
  await compareDecoding('decode, special tokens kept', v3, sequences, true);

  checkRefusals(bytesOnly, random, Math.max(200, Math.floor(count / 50)));
  checkOneCharacter(v3);
  if (options.speed) await measureSpeed(v3, random);
  console.log(differences === 0 ? 'all equal' : `${differences} differences`);
  process.exit(differences === 0 ? 0 : 1);
}

await main();
