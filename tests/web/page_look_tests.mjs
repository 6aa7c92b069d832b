// Part of page_test.mjs: reachable by keyboard and screen reader, readable in light, dark and narrow. Leaves screenshots.
import assert from 'node:assert/strict';

import {test} from './harness.mjs';
import {boxesChunk, lastChunks, textChunk} from './mock_server.mjs';
import {makePng} from './png.mjs';

const kAnswer = '## What I see\n\nA **dark disc** and a *bar* on grey:\n\n1. the disc stands left\n2. the bar stands right\n\n' +
    '| shape | colour |\n|---|---|\n| disc | blue |\n| bar | `#e6b428` |\n\n```json\n{"shapes": 2}\n```\n\n> Nothing else. See [more](https://example.org/).';
const kBoxes = [{label: 'the dark disc', box: [133, 161, 467, 639], picture: 0}, {label: 'the bar', box: [598, 698, 903, 852], picture: 0, probability: 0.97}];

async function conversation({mock, page, open}) {
  mock.script = async function* () {
    yield textChunk(kAnswer);
    yield boxesChunk(kBoxes);
    yield* lastChunks(850, 130);
  };
  await open();
  const picture = makePng(600, 420, (x, y) => (x - 180) ** 2 + (y - 168) ** 2 < 10000 ? [60, 90, 160] :
                                    x > 360 && x < 540 && y > 294 && y < 357 ? [230, 180, 40] : [200, 200, 200]);
  await page.locator('#files').setInputFiles([{name: 'shapes.png', mimeType: 'image/png', buffer: picture}]);
  await page.locator('#pictures li').waitFor();
  await page.getByLabel('Question', {exact: true}).fill('What is in the picture, and where?');
  await page.keyboard.press('Enter');
  await page.locator('.assistant:not([aria-busy])').waitFor();
  await page.locator('.frame img').evaluate((image) => image.decode());
  await page.locator('#files').setInputFiles([{name: 'second.png', mimeType: 'image/png', buffer: picture}]);
  await page.getByText('2 × 1 tiles').waitFor();
}

// Contrast of every piece of text with what is painted behind it, as WCAG 2.1 counts it.
function poorContrast() {
  const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const rgba = (css) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = css;
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  };
  const brightness = (c) => [0, 1, 2].reduce((sum, i) => {
    const v = c[i] / 255;
    return sum + [0.2126, 0.7152, 0.0722][i] * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const poor = [];
  let seen = 0;
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!own || !node.checkVisibility() || ['OPTION', 'NOSCRIPT'].includes(node.nodeName)) continue;
    let behind = node;
    while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
    const a = brightness(rgba(getComputedStyle(node).color)), b = brightness(rgba(getComputedStyle(behind ?? document.body).backgroundColor));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    ++seen;
    if (contrast < 4.5) poor.push(`${node.nodeName}.${node.className} "${node.textContent.slice(0, 20)}": ${contrast.toFixed(2)}`);
  }
  return {seen, poor};
}

const kLooks = [
  ['light', {colorScheme: 'light'}],
  ['dark', {colorScheme: 'dark'}],
  ['narrow', {colorScheme: 'light', viewport: {width: 320, height: 640}}],
  ['narrow_dark', {colorScheme: 'dark', viewport: {width: 360, height: 740}}],
];

for (const [name, options] of kLooks)
  test(`look: ${name} reads well and fits`, async (t) => {
    const {page, open, screenshot} = t;
    await open();
    await screenshot(`${name}_start`);
    await conversation(t);
    const {seen, poor} = await page.evaluate(poorContrast);
    assert.ok(seen > 25, `${seen} pieces of text`);
    assert.deepEqual(poor, []);
    const width = await page.evaluate(() => [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]);
    assert.ok(width[0] <= width[1], `nothing sticks out sideways: ${width}`);
    await screenshot(`${name}_end`);
    await page.evaluate(() => scrollTo(0, 0));
    await screenshot(`${name}_top`);
    await page.getByText('Settings').click();
    for (const id of ['temperature', 'max-tokens', 'seed']) {
      const box = await page.locator(`#${id}`).boundingBox();
      assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.width <= (options.viewport?.width ?? 1000), `${id} is in sight`);
    }
    await screenshot(`${name}_settings`);
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
    assert.equal(background[0] < 128, options.colorScheme === 'dark');
  }, options);

test('access: every control has a name, every picture a text, headings and landmarks are there', async (t) => {
  const {page} = t;
  await conversation(t);
  const tree = await page.locator('body').ariaSnapshot();
  for (const role of ['banner', 'main', 'form "New question"', 'log "Conversation"', 'article "Answer"', 'heading "vl2" [level=1]'])
    assert.ok(tree.includes(role), `${role} in\n${tree}`);
  assert.doesNotMatch(tree, /- (button|textbox|combobox|spinbutton|img|link|meter)(:| \[|$)/m, 'something has no name');
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'en');
  assert.equal(await page.locator('img:not([alt]), img[alt=""]').count(), 0);
});

test('access: everything is reached with Tab, in the order it is seen, and shows that it is', async (t) => {
  const {page} = t;
  await conversation(t);
  await page.locator('.skip').focus();
  await page.keyboard.press('Shift+Tab');  // out of the page, so that Tab begins at its start
  const reached = [];
  for (let i = 0; i < 40; ++i) {
    await page.keyboard.press('Tab');
    const one = await page.evaluate(() => {
      const node = document.activeElement;
      if (node === document.body) return null;
      const {outlineStyle, outlineWidth} = getComputedStyle(node);
      return {name: node.id || node.getAttribute('aria-label') || node.textContent.trim().slice(0, 20), outline: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2};
    });
    if (one === null) break;
    assert.ok(one.outline, `${one.name} shows no focus`);
    reached.push(one.name);
  }
  const order = ['Skip to the question', 'new-chat', 'more', '2 boxes', 'Copy as JSON', 'Copy the answer', 'Answer again', 'Remove second.png',
                 'question', 'choose', 'mode', 'Settings', 'send'];
  const places = order.map((name) => reached.indexOf(name));
  assert.ok(places.every((place, i) => place >= 0 && (i === 0 || place > places[i - 1])), `reached ${reached.join(' | ')}`);
});

test('access: the skip link leads to the question', async ({page, open}) => {
  await open();
  await page.locator('.skip').focus();
  assert.ok((await page.locator('.skip').boundingBox()).width > 50, 'it is in sight when focused');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
});
