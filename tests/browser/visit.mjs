// Visits the console's pages: a screenshot of each, what axe finds, and what the content security policy refuses.
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const [url, setup, shots] = process.argv.slice(2);
const axe = readFileSync('node_modules/axe-core/axe.min.js', 'utf8');
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const password = 'a lantern over the scroll';
const pages = [
  ['alerts', '/?state=all'],
  ['alert', '/alerts/2'],
  ['alert-closed', '/alerts/1'],
  ['no-alerts', '/?q=nothing'],
  ['hosts', '/hosts'],
];

const found = [];
let passed = 0;
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const colorScheme of ['light', 'dark']) {
  const context = await browser.newContext({ colorScheme, viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) found.push(message.text());
  });
  const look = async (name) => {
    await page.screenshot({ path: `${shots}/${name}-${colorScheme}.png`, fullPage: true });
    await page.evaluate(axe);
    const result = await page.evaluate((values) => globalThis.axe.run({ runOnly: values }), rules);
    passed += result.passes.length;
    for (const { id, help, nodes } of result.violations) {
      found.push(`${name}, ${colorScheme}: ${id}: ${help}\n  ${nodes.map((node) => node.html).join('\n  ')}`);
    }
  };
  const first = colorScheme === 'light';
  await page.goto(first ? `${url}/setup?token=${setup}` : `${url}/login`);
  await look(first ? 'setup' : 'login');
  await page.fill('#name', 'ines');
  await page.fill('#password', password);
  if (first) await page.fill('#repeated', password);
  await page.click('button[type=submit]');
  await page.waitForSelector('.bar');
  for (const [name, path] of pages) {
    await page.goto(url + path);
    if (first && name === 'alert-closed') {
      await page.fill('#note', 'It was meant for the printer.');
      await page.selectOption('#verdict', { label: 'benign' });
      await page.click('button[value=close]');
      await page.waitForSelector('.history');
    }
    await look(name);
  }
  await context.close();
}
await browser.close();
if (passed === 0) found.push('axe checked nothing');
console.log(found.length ? found.join('\n') : `nothing found; ${passed} rules of axe passed`);
process.exit(found.length ? 1 : 0);
