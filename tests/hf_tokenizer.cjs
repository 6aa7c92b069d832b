// The `tokenizers` library's own answers, line by line, through its npm package.
//
// Usage   node tests/hf_tokenizer.cjs PACKAGE_FOLDER tokenizer.json encode|decode|decode-special
//         PACKAGE_FOLDER is node_modules/tokenizers. JSON strings in and JSON arrays of ids out, or the reverse.
const fs = require('node:fs');
const path = require('node:path');

async function main([folder, file, mode]) {
  const {Tokenizer} = require(path.resolve(folder));
  const tokenizer = Tokenizer.fromFile(file);
  const lines = fs.readFileSync(0, 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line));
  const out = [];
  for (const line of lines) {
    if (mode === 'encode')
      out.push(JSON.stringify(line === '' ? [] : (await tokenizer.encode(line, null, {addSpecialTokens: false})).getIds()));
    else
      out.push(JSON.stringify(await tokenizer.decode(line, mode === 'decode')));
  }
  process.stdout.write(out.map((line) => line + '\n').join(''));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`hf_tokenizer: ${error.message}`);
  process.exit(1);
});
