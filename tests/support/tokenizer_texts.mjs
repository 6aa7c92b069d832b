// Texts, ids and byte strings for tests/tokenizer_vs_hf.mjs: random, but the same for the same seed on every machine.

/// Mulberry32, a small generator with 32 bits of state.
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /// A whole number in [0, limit).
  below(limit) {
    this.state = (this.state + 0x6D2B79F5) >>> 0;
    let bits = Math.imul(this.state ^ this.state >>> 15, this.state | 1);
    bits ^= bits + Math.imul(bits ^ bits >>> 7, bits | 61);
    return Math.floor(((bits ^ bits >>> 14) >>> 0) / 2 ** 32 * limit);
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}

// First and last character of the scripts and kinds that runs are drawn from.
const ranges = [
  [0x61, 0x7A], [0x61, 0x7A], [0x41, 0x5A], [0x30, 0x39], [0x30, 0x39], [0x21, 0x2F], [0x3A, 0x40], [0x5B, 0x60], [0x7B, 0x7E],
  [0x00, 0x1F], [0x7F, 0x9F], [0xA0, 0xFF], [0xC0, 0x17F], [0x180, 0x2FF], [0x300, 0x36F], [0x370, 0x3FF], [0x400, 0x52F],
  [0x531, 0x58F], [0x590, 0x5FF], [0x600, 0x6FF], [0x900, 0x97F], [0x980, 0x9FF], [0xB80, 0xBFF], [0xE00, 0xE7F], [0xE80, 0xEFF],
  [0xF00, 0xFFF], [0x1000, 0x109F], [0x10A0, 0x10FF], [0x1200, 0x137F], [0x13A0, 0x13FF], [0x1780, 0x17FF], [0x1E00, 0x1FFF],
  [0x2000, 0x206F], [0x2070, 0x20FF], [0x2100, 0x218F], [0x2190, 0x23FF], [0x2460, 0x27BF], [0x2C00, 0x2DFF], [0x2E80, 0x303F],
  [0x3040, 0x30FF], [0x3040, 0x309F], [0x30A0, 0x30FF], [0x3100, 0x33FF], [0x3400, 0x4DBF], [0x4E00, 0x9FFF], [0x4E00, 0x9FA5],
  [0xA640, 0xA7FF], [0xAC00, 0xD7FF], [0xE000, 0xF8FF], [0xF900, 0xFAFF], [0xFB00, 0xFDFF], [0xFE00, 0xFE6F], [0xFF00, 0xFFFF],
  [0x10000, 0x103FF], [0x10400, 0x10FFF], [0x11000, 0x11FFF], [0x1D400, 0x1D7FF], [0x1E900, 0x1EEFF], [0x1F000, 0x1FAFF],
  [0x1F300, 0x1F64F], [0x20000, 0x2FFFF], [0xE0000, 0xE01EF], [0xF0000, 0x10FFFF],
];
// Zeroes of the digits of other scripts; fractions, superscripts and Roman numerals are numbers, too.
const zeroes = [0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0x1040, 0x17E0, 0xFF10, 0x1D7CE, 0x1E950];
const otherNumbers = [...'²³¹¼½¾Ⅷⅻ⁹₇①㊿〇𝟘𐄇'];
const spaces = [...'\t\n\v\f\r \x85\xA0\u1680\u2000\u2002\u2003\u2007\u2009\u200A\u2028\u2029\u202F\u205F\u3000'];
const newlines = ['\n', '\n', '\r\n', '\r', '\n\n', '\r\r\n', '\x85', '\u2028', '\u2029'];
// Characters that look like spaces, marks or letters and are none, or the other way round.
const odd = [...'\0\x1C\x1F\x7F\xAD\u034F\u061C\u180E\u200B\u200C\u200D\u200E\u2060\uFE0E\uFE0F\uFEFF\uFFFC\uFFFD\uFFFE\u9FA5\u9FA6\u3005\u30FC\u20E3'];
const marks = [...'\u0300\u0301\u0308\u0327\u0338\u05B0\u064B\u0903\u094D\u0E31\u20D7\u3099\uFE20'];
const emoji = ['👩‍👩‍👧', '🏳️‍🌈', '👍🏽', '🇩🇪', '🇯🇵🇰🇷', '❤️', '☎︎', '1️⃣', '🧑🏿‍🚀', '😀', '🏴󠁧󠁢󠁥󠁮󠁧󠁿'];
const words = ('the of and a picture total number invoice receipt reading don\'t it\'s I\'ll we\'re THE Answer question using single ' +
               'word phrase naïve café Straße œuvre Ελληνικά Москва привет مرحبا שלום नमस्ते สวัสดี việt 한국어 こんにちは カタカナ ' +
               'antidisestablishmentarianism https://example.org/a?b=1&c=%20 foo_bar FooBar snake_case x1y2 e\u0301 ﬁne').split(' ');
const chinese = [...'的一是不了在人有我他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生图片发票总计多少', '，', '。', '？', '《', '》', '、'];
const code = ['int main() {', 'return 0;', '}', '    if (x != y && !z)', '\tfor i in range(10):', '#include <vector>', '"a\\n\\"b"', '// TODO: x',
              'a->b[i]++;', '$x^{2}+\\frac{1}{2}$', '<div class="a">', '</div>', '| --- | --- |', '* item', '1. first', '```json', '{"k": [1, 2.5e-3]}',
              '0xDEADBEEF', '!=', '>>=', '...', '---', "'''", '!!!???', '====', '::', '\\\\', '[[580, 270, 999, 900]]'];

function anyCharacter(random) {
  for (;;) {
    const codePoint = random.below(random.below(2) ? 0x110000 : 0x10000);
    if (codePoint < 0xD800 || codePoint > 0xDFFF) return String.fromCodePoint(codePoint);
  }
}

function times(count, make) {
  let text = '';
  for (; count > 0; --count) text += make();
  return text;
}

const kinds = [
  (random, run) => {
    const [first, last] = random.pick(ranges);
    return times(run, () => String.fromCodePoint(first + random.below(last - first + 1)));
  },
  (random, run) => times(run, () => random.pick(words) + random.pick(['', ' ', ' ', ' ', ', ', '. ', '  ', '\n', '.\n\n'])),
  (random, run) => times(run, () => random.pick(chinese)),
  (random) => random.pick(code) + random.pick(['', ' ', '\n', '\n\n', '\r\n', '  \n']),
  (random, run) => times(run, () => random.pick(spaces)),
  (random, run) => times(1 + random.below(run), () => random.pick(['', ' ', '  ', '\t']) + random.pick(newlines)),
  (random, run) => times(run, () => random.pick(random.below(4) ? [' '] : spaces)),
  (random) => random.pick(odd),
  (random, run) => times(run, () => random.pick(random.below(2) ? marks : [...'aeiouyAEнкעअก'])),
  (random) => random.pick(emoji),
  (random, run) => {
    const zero = random.below(2) ? 0x30 : random.pick(zeroes);
    return times(run, () => random.below(8) ? String.fromCodePoint(zero + random.below(10)) : random.pick(otherNumbers));
  },
  (random, run) => times(run, () => random.pick([...'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~«»“”…—·¿№€¥×÷√'])),
  (random, run) => times(run, () => anyCharacter(random)),
];

/// A text of 0 to about 200 characters.
///
/// tokens   texts of vocabulary entries, put in between so that long merges happen
/// control  control tokens, put in whole, cut short, or doubled
export function randomText(random, tokens, control) {
  if (random.below(200) === 0) return '';
  const most = random.pick([4, 12, 40, 120, 200]);
  let text = '';
  for (let length = 0; length < most && (length === 0 || random.below(12) !== 0);) {
    const choice = random.below(kinds.length + 3), run = 1 + random.below(random.pick([2, 4, 12]));
    let part;
    if (choice < kinds.length) {
      part = kinds[choice](random, run);
    } else if (choice < kinds.length + 2) {
      part = times(run, () => random.pick(tokens));
    } else {
      part = random.pick(control);
      const way = random.below(6);
      if (way === 0) part = part.slice(0, 1 + random.below(part.length));
      else if (way === 1) part = part.slice(random.below(part.length));
      else if (way === 2) part = '<' + part + part;
    }
    text += part;
    length += part.length;
  }
  return text;
}

/// Texts that hold every `stride`-th code point, and those at the borders of a class as this JavaScript engine knows it, each in
/// the company that shows its class: between digits, before and after letters, spaces, signs and newlines.
export function codePointTexts(stride) {
  const classOf = (codePoint) => {
    const character = String.fromCodePoint(codePoint);
    return ['L', 'M', 'N', 'P', 'S', 'Z', 'Cn'].findIndex((name) => generalCategories[name].test(character));
  };
  const texts = [];
  let text = '', previous = -1;
  for (let codePoint = 0; codePoint < 0x110000; ++codePoint) {
    if (codePoint >= 0xD800 && codePoint <= 0xDFFF) continue;
    const own = classOf(codePoint), next = codePoint === 0x10FFFF ? -1 : classOf(codePoint + 1);
    if (codePoint % stride === 0 || newerNumbers.test(String.fromCodePoint(codePoint)) || own !== previous || own !== next) {
      const x = String.fromCodePoint(codePoint);
      text += `1${x}2a${x}b  ${x}.${x}\n ${x} !${x}`;
      if (text.length > 180) {
        texts.push(text);
        text = '';
      }
    }
    previous = own;
  }
  if (text !== '') texts.push(text);
  return texts;
}

// Numbers of Unicode 17, which the library's Digits step knows and its regular expressions do not.
const newerNumbers = /^[\u{11DE0}-\u{11DE9}\u{16FF4}-\u{16FF6}]$/u;

const generalCategories = Object.fromEntries(
    ['L', 'M', 'N', 'P', 'S', 'Z', 'Cn'].map((name) => [name, new RegExp(`^\\p{gc=${name}}$`, 'u')]));

/// Ids to decode: any, or mostly the first few hundred, which stand for single bytes and so for ill-formed text.
export function randomIds(random, idCount, addedIds) {
  const limit = random.pick([300, 300, 5000, idCount + 50]);
  const ids = [];
  for (let count = random.below(random.pick([3, 10, 40])); count > 0; --count)
    ids.push(random.below(15) ? random.below(limit) : random.pick(addedIds));
  return ids;
}

/// A byte string that may or may not be UTF-8: well-formed text with bytes changed, dropped or put in.
export function randomBytes(random) {
  const some = times(random.below(6), () => random.pick([...'aé\u07FF\u0800中\uD7FF\uE000\uFFFF😀\u{10FFFF}', 'x y']));
  const bytes = [...Buffer.from(some)];
  for (let changes = 1 + random.below(3); changes > 0; --changes) {
    const at = random.below(bytes.length + 1);
    const byte = random.pick([0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF, 0x80 + random.below(128)]);
    bytes.splice(at, random.below(2), ...(random.below(4) ? [byte] : []));
  }
  return Buffer.from(bytes);
}

/// About `length` bytes of English-like text: words of everyday frequency, punctuation and paragraphs.
export function englishLikeText(random, length) {
  const common = ('the of and to in a is that for it was on are as with his they at be this from have or by one had not but what all were when ' +
                  'your can said there use an each which she do how their if will up other about out many then them these so some her would ' +
                  'make like him into time has look two more write go see number no way could people my than first water been call who oil ' +
                  'its now find long down day did get come made may part picture receipt describe question answer between government ' +
                  'information development understanding international significant particularly').split(' ');
  const parts = [];
  let written = 0, capital = true;
  while (written < length) {
    let word = random.pick(random.below(3) ? common.slice(0, 40) : common);
    if (random.below(60) === 0) word = String(random.below(3000));
    if (capital) word = word[0].toUpperCase() + word.slice(1);
    const stop = random.below(90) === 0 ? '.\n\n' : random.below(12) === 0 ? '. ' : random.below(10) === 0 ? ', ' : ' ';
    capital = stop[0] === '.';
    parts.push(word, stop);
    written += word.length + stop.length;
  }
  return parts.join('');
}
