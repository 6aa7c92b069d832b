// A browser with an eye on everything that a page may do wrong, and a list of tests to run in it.
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {parseArgs} from 'node:util';

import {startMock} from './mock_server.mjs';

const kDriver = 'playwright-core@1.65.1';  // Apache-2.0; drives the Chromium that the system has, brings none

export function giveUp(message) {
  console.error(`web: ${message}`);
  process.exit(1);
}

function fetchDriver(work) {
  const [name, version] = kDriver.split('@'), folder = path.join(work, 'node_modules', name);
  const has = () => fs.existsSync(path.join(folder, 'package.json')) &&
      JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).version === version;
  if (!has()) {
    fs.mkdirSync(work, {recursive: true});
    try {
      execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', work, kDriver],
                   {cwd: work, stdio: ['ignore', 'ignore', 'inherit']});
    } catch (error) {
      giveUp(`npm could not fetch ${kDriver}: ${error.message}`);
    }
    if (!has()) giveUp(`npm left no ${kDriver} in ${folder}`);
  }
  return createRequire(path.join(path.resolve(work), 'here.js'))(name);
}

const tests = [];

/** Adds a test: body({mock, page, open, screenshot, allow}). Its name is a claim. */
export function test(name, body, options = {}) {
  tests.push({name, body, options});
}

// One test in a fresh browser context. Throws on a failed check, and on anything wrong that the page did beside it.
async function runOne({name, body, options}, browser, folder, work) {
  const mock = await startMock(folder);
  const context = await browser.newContext({
    viewport: {width: 1000, height: 800}, locale: 'en-GB', permissions: ['clipboard-read', 'clipboard-write'], ...options});
  const wrong = [], allowed = [];
  const blame = (what) => {
    if (!allowed.some((pattern) => pattern.test(what))) wrong.push(what);
  };
  await context.exposeBinding('vl2Violation', (_, what) => blame(`CSP violation: ${what}`));
  await context.addInitScript(() => document.addEventListener(
      'securitypolicyviolation', (event) => window.vl2Violation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`)));
  const page = await context.newPage();
  page.setDefaultTimeout(10000);
  page.on('console', (line) => ['error', 'warning'].includes(line.type()) && blame(`console: ${line.text()}`));
  page.on('pageerror', (error) => blame(`exception: ${error.stack}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(mock.url) && !/^(blob|data):/.test(request.url())) blame(`request to ${request.url()}`);
  });
  const open = async () => {
    await page.goto(mock.url);
    await page.getByText('mock-model').waitFor();
  };
  const screenshot = (label) => page.screenshot({path: path.join(work, `${label}.png`)});
  try {
    await body({mock, page, context, open, screenshot, allow: (pattern) => allowed.push(pattern), wrong});
    if (wrong.length) throw new Error(`beside the checks:\n    ${wrong.join('\n    ')}`);
  } finally {
    await context.close();
    mock.close();
  }
}

/** Runs the tests; --work FOLDER for what npm fetches and for screenshots, --only TEXT for tests whose name has it. */
export async function runTests(folder) {
  const {values: {work, only}} = parseArgs({options: {work: {type: 'string'}, only: {type: 'string', default: ''}}});
  if (work === undefined) giveUp('wanted --work FOLDER');
  const chosen = tests.filter(({name}) => name.includes(only));
  if (!chosen.length) giveUp(`--only: no test has "${only}" in its name`);
  const chromium = process.env.VL2_CHROMIUM || '/usr/bin/chromium';
  if (!fs.existsSync(chromium)) giveUp(`there is no ${chromium} (package chromium; set VL2_CHROMIUM for another place)`);
  const playwright = fetchDriver(path.resolve(work));
  const browser = await playwright.chromium.launch({executablePath: chromium, args: ['--no-sandbox', '--disable-gpu']});
  let failed = 0;
  for (const one of chosen) {
    try {
      await runOne(one, browser, folder, work);
      console.log(`ok      ${one.name}`);
    } catch (error) {
      ++failed;
      console.log(`FAILED  ${one.name}\n  ${error.stack ?? error}`);
    }
  }
  await browser.close();
  console.log(`web: ${chosen.length - failed} of ${chosen.length} tests passed`);
  process.exit(failed ? 1 : 0);
}
