// Opens an HTML report in headless Chromium and checks what a reader relies on.
// SPDX-License-Identifier: Apache-2.0
// usage: node check_report.mjs PAGE_WRITER | FILE.html [FOLDER for screenshots]
// A PAGE_WRITER is a program that writes made-up reports to the path it is given: PAGE [history|large].
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const kSkipped = 77; // CTest shows the test as skipped
const kPhone = { width: 360, height: 740 };
const kDesktop = { width: 1280, height: 900 };
const kLargestPage = 5_000_000;
const kSlowestOpen = 2000; // ms until every chart is drawn, with 10,000 samples behind the page
const kOpens = 5; // the fastest counts: other programs share this machine

function skip(why) {
  console.log(`skipped: ${why}`);
  process.exit(kSkipped);
}

const executablePath = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find(existsSync);
if (!executablePath) skip('chromium-headless-shell is not installed');
const { chromium } = await import('playwright-core').catch(() =>
  skip('playwright-core is missing; run npm ci in tests/browser'));

const [subject, shots] = process.argv.slice(2);
assert.ok(subject, 'usage: node check_report.mjs PAGE_WRITER | FILE.html [FOLDER]');
const work = mkdtempSync(join(tmpdir(), 'sala-report-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
const madeUp = !subject.endsWith('.html');
const file = madeUp ? join(work, 'report.html') : resolve(subject);
if (madeUp) execFileSync(subject, [file]);
if (shots) mkdirSync(shots, { recursive: true });
let url = pathToFileURL(file).href;
const html = readFileSync(file, 'utf8');
if (!html.includes('class="chart"') && html.includes('tables only')) {
  skip('the program was built without the chart library; run npm ci in reports/web and build again');
}

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
let failures = 0;

/** Runs one check on a page of its own; nothing may be asked of the network, nothing may fail. */
async function check(claim, options, body) {
  const context = await browser.newContext({ offline: true, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => {
    if (request.url() !== url) problems.push(`request of ${request.url().slice(0, 200)}`);
  });
  try {
    await page.goto(url);
    if (options.javaScriptEnabled !== false) {
      await page.waitForFunction(() => document.documentElement.dataset.charts);
    }
    await body(page);
    assert.deepEqual(problems, []);
    console.log(`ok      ${claim}`);
  } catch (error) {
    ++failures;
    console.log(`FAILED  ${claim}\n${error.stack}`);
  } finally {
    await context.close();
  }
}

const shoot = (page, name) =>
  shots && page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });

/** Pixels by which the page is wider than its window. */
const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

await check('every_chart_is_drawn_with_marks', { viewport: kDesktop }, async (page) => {
  assert.equal(await page.getAttribute('html', 'data-charts'), 'drawn');
  const marks = await page.$$eval('.chart', (charts) =>
    charts.map((chart) => chart.querySelectorAll('svg .mark-rect path, svg .mark-line path, ' +
      'svg .mark-symbol path, svg .mark-text text').length));
  assert.ok(marks.length > 0, 'the page has no chart');
  marks.forEach((n, i) => assert.ok(n > 0, `chart ${i + 1} has no mark`));
  assert.equal(await overflow(page), 0);
  await shoot(page, 'desktop');
});

await check('charts_have_a_name_and_text_stays_in_them', { viewport: kDesktop }, async (page) => {
  const charts = await page.$$eval('.chart', (list) =>
    list.map((chart) => {
      const svg = chart.querySelector('svg').getBoundingClientRect();
      const box = chart.getBoundingClientRect();
      return { label: chart.getAttribute('aria-label'), inside: svg.right <= box.right + 1 };
    }));
  for (const chart of charts) {
    assert.ok(chart.label, 'a chart has no accessible name');
    assert.ok(chart.inside, `chart "${chart.label}" is wider than its box`);
  }
});

await check('tables_are_readable_without_javascript',
  { viewport: kDesktop, javaScriptEnabled: false }, async (page) => {
    assert.ok(await page.isVisible('#verdict p'));
    assert.ok(await page.isVisible('#accuracy table tbody tr'));
    assert.equal(await page.isVisible('.chart'), false);
    await page.click('#needle summary');
    assert.ok(await page.isVisible('#needle table tbody tr'));
    await shoot(page, 'no-script');
  });

await check('a_phone_scrolls_tables_and_not_the_page', { viewport: kPhone, isMobile: true },
  async (page) => {
    assert.equal(await overflow(page), 0);
    await page.$$eval('details', (list) => list.forEach((details) => { details.open = true; }));
    assert.equal(await overflow(page), 0);
    await page.$$eval('details', (list) => list.forEach((details) => { details.open = false; }));
    await shoot(page, 'phone');
  });

await check('it_prints_with_every_table_open', { viewport: kDesktop }, async (page) => {
  const pdf = await page.pdf({ format: 'A4', path: shots && join(shots, 'print.pdf') });
  assert.equal(pdf.subarray(0, 5).toString(), '%PDF-');
  assert.ok(pdf.length > 20000, `the PDF has only ${pdf.length} bytes`);
  const closed = await page.$$eval('main details', (list) => list.filter((d) => !d.open).length);
  assert.equal(closed, 0);
});

await check('foreign_text_is_inert', { viewport: kDesktop }, async (page) => {
  assert.equal(await page.$$eval('img', (list) => list.length), 0);
  assert.notEqual(await page.title(), 'owned');
  if (madeUp) assert.match(await page.textContent('body'), /<\/script><img src=x onerror=/);
});

await check('the_page_is_structured', { viewport: kDesktop }, async (page) => {
  const problems = await page.evaluate(() => {
    const found = [];
    if (!document.documentElement.lang) found.push('no language');
    if (document.querySelectorAll('h1').length !== 1) found.push('not one h1');
    let level = 1;
    for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
      const next = Number(heading.tagName[1]);
      if (next > level + 1) found.push(`heading level jumps at "${heading.textContent}"`);
      level = next;
    }
    for (const table of document.querySelectorAll('main table')) {
      if (!table.caption?.textContent) found.push('a table has no caption');
      for (const th of table.querySelectorAll('th')) {
        if (!th.scope) found.push(`a header without scope: ${th.textContent}`);
      }
    }
    const ids = Array.from(document.querySelectorAll('[id]'), (element) => element.id);
    if (new Set(ids).size !== ids.length) found.push('an id is used twice');
    for (const link of document.querySelectorAll('a[href^="#"]')) {
      if (!document.querySelector(link.getAttribute('href'))) found.push(`dead link ${link.href}`);
    }
    return found;
  });
  assert.deepEqual(problems, []);
  assert.ok(statSync(file).size < kLargestPage, 'the page is larger than 5 MB');
});

/** Goes on with another page of the writer; the checks above have closed theirs. */
function write(kind) {
  const page = join(work, `${kind}.html`);
  execFileSync(subject, [page, kind]);
  url = pathToFileURL(page).href;
  return page;
}

if (madeUp) {
  write('history');
  await check('history_shows_its_steps_and_the_pareto_panels_their_points', { viewport: kDesktop },
    async (page) => {
      const texts = await page.$$eval('#history .chart svg text', (list) =>
        list.map((text) => text.textContent));
      for (const step of ['+5.9 %', '\u221210.0 %', '\u221220.0 points']) {
        assert.ok(texts.includes(step), `no chart says ${step}`);
      }
      const cut = await page.$$eval('#history .chart svg, #pareto .chart svg', (list) =>
        list.filter((svg) => {
          const box = svg.getBoundingClientRect();
          return Array.from(svg.querySelectorAll('text')).some((text) => {
            const inside = text.getBoundingClientRect();
            return inside.right > box.right + 1 || inside.left < box.left - 1;
          });
        }).length);
      assert.equal(cut, 0, 'words leave their chart');
      const points = await page.$$eval('#pareto .chart', (charts) =>
        charts.map((chart) => chart.querySelectorAll('svg .mark-symbol path').length));
      assert.deepEqual(points, [2]);
      await shoot(page, 'history');
    });

  const large = write('large');
  await check('ten_thousand_samples_open_in_two_seconds', { viewport: kDesktop }, async (page) => {
    assert.ok(statSync(large).size < kLargestPage, 'the page is larger than 5 MB');
    const times = [];
    for (let i = 0; i < kOpens; ++i) {
      const start = performance.now();
      await page.goto(url);
      await page.waitForFunction(() => document.documentElement.dataset.charts);
      times.push(Math.round(performance.now() - start));
    }
    console.log(`        ${statSync(large).size} bytes, opened in ${times.join(', ')} ms`);
    assert.ok(Math.min(...times) < kSlowestOpen, `opened in ${times.join(', ')} ms`);
    assert.equal(await page.getAttribute('html', 'data-charts'), 'drawn');
    await shoot(page, 'large');
  });
}

await browser.close();
process.exit(failures === 0 ? 0 : 1);
