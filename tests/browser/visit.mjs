// Visits the console's pages: a screenshot of each, what axe finds, and what the content security policy refuses.
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const [url, setup, shots, seed, token] = process.argv.slice(2);
const axe = readFileSync('node_modules/axe-core/axe.min.js', 'utf8');
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const password = 'a lantern over the scroll';
const pages = [
  ['alerts', '/?state=all'],
  ['alert', '/alerts/2'],
  ['alert-closed', '/alerts/1'],
  ['no-alerts', '/?q=nothing'],
  ['objects', '/objects'],
  ['no-objects', '/objects?q=nothing'],
  ['object', '/objects?q=K2B'],
  ['trace', '/trace'],
  ['search', '/search?q=K2B'],
  ['nothing-found', '/search?q=nothing'],
  ['hosts', '/hosts'],
  ['dead-letters', '/dead-letters'],
  ['sinks', '/sinks'],
  ['approvals', '/approvals'],
  ['silences', '/silences'],
  ['notifications', '/notifications'],
  ['policy', '/policy'],
  ['policy-version', '/policy/2'],
  ['users', '/users'],
  ['audit', '/audit'],
];

// The code of now for a secret in base32 (RFC 6238).
function codeOf(secret) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret.replaceAll(' ', '')].map((digit) => alphabet.indexOf(digit).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000)));
  const mac = createHmac('sha1', key).update(step).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
  return String(number % 1000000).padStart(6, '0');
}
let recovery = [];

// A policy with that serial; the second one lets more onto the website.
function policy(serial) {
  const ceiling = serial === 1 ? 'public' : 'licensed';
  return `version = 1
serial = ${serial}
mode = "enforce"

[[tier]]
name = "public"
max-megapixels = 6

[[tier]]
name = "licensed"
max-megapixels = 20

[[destination]]
name = "website"
paths = ["/srv/web/upload"]
ceiling = "${ceiling}"

[elsewhere]
ceiling = "none"
`;
}

// Logs in by the provider in a browser of its own, and looks at what is different for who came that way.
async function byProvider(browser, colorScheme, watch) {
  const begin = async () => {
    const context = await browser.newContext({ colorScheme, viewport: { width: 1280, height: 900 } });
    const { page, look } = await watch(context);
    await page.goto(`${url}/login`);
    await page.click('text="Log in by the museum\'s account"');
    await page.waitForSelector('[name=login]');
    return { context, page, look };
  };
  const as = async (page, name) => {
    await page.fill('[name=login]', name);
    await page.fill('[name=password]', 'any');
    await page.click('[type=submit]');
    await page.waitForSelector('text="Authorize"');
    await page.click('[type=submit]');
  };
  const mei = await begin();
  await as(mei.page, 'mei');
  await mei.page.waitForURL(`${url}/`);
  await mei.page.waitForSelector('.bar');
  await mei.page.goto(`${url}/account`);
  await mei.look('account-by-provider');
  await mei.page.goto(`${url}/users`);
  await mei.page.waitForSelector('text="admin, by the provider"');
  await mei.look('users-by-provider');
  const names = (await mei.context.cookies(url)).map(({ name }) => name);
  if (!names.includes('vitrine') || names.includes('vitrine-away')) found.push(`cookies after the log-in: ${names}`);
  // The provider still knows who that is, and the console asks it each time.
  await mei.page.goto(`${url}/account`);
  await mei.page.click('text="Log out"');
  await mei.page.waitForURL(`${url}/login`);
  await mei.page.click('text="Log in by the museum\'s account"');
  await mei.page.waitForURL(`${url}/`);
  await mei.page.waitForSelector('.bar');
  await mei.context.close();

  const guest = await begin();
  await as(guest.page, 'guest');
  await guest.page.waitForSelector('[role=alert]:has-text("guest has no role in this console")');
  await guest.look('login-refused');
  await guest.context.close();

  const nobody = await begin();
  await nobody.page.click('text=/Cancel/');
  await nobody.page.waitForSelector('[role=alert]:has-text("did not log you in: access_denied")');
  await nobody.context.close();
}

const found = [];
// Goes on with the keyboard alone to what matches.
async function tabTo(page, selector) {
  for (let steps = 0; steps < 300; steps += 1) {
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
    await page.keyboard.press('Tab');
  }
  found.push(`the keyboard does not get to ${selector}`);
}
let passed = 0;
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const colorScheme of ['light', 'dark']) {
  const context = await browser.newContext({ colorScheme, viewport: { width: 1280, height: 900 } });
  const watch = async (context) => {
    const page = await context.newPage();
    page.on('console', (message) => {
      const ours = page.url().startsWith(url) && message.text().includes('Content Security Policy');
      if (ours) found.push(message.text());
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
    return { page, look };
  };
  const { page, look } = await watch(context);
  const first = colorScheme === 'light';
  await page.goto(first ? `${url}/setup?token=${setup}` : `${url}/login`);
  await look(first ? 'setup' : 'login');
  if (first) {
    await page.fill('#name', 'ines');
    await page.fill('#password', password);
    await page.fill('#repeated', password);
    await page.click('button[type=submit]');
  } else {
    // Without a mouse.
    await tabTo(page, '#name');
    await page.keyboard.type('ines');
    await tabTo(page, '#password');
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#code');
    await look('code');
    await tabTo(page, '#code');
    await page.keyboard.type(recovery[0]);
    await page.keyboard.press('Enter');
  }
  await page.waitForSelector('.bar');
  for (const [name, path] of pages) {
    await page.goto(url + path);
    if (first && name === 'alert-closed') {
      // Without a mouse: from the list to the alert, and to its end.
      await page.goto(`${url}/?state=all`);
      await tabTo(page, `a[href="${path}"]`);
      await page.keyboard.press('Enter');
      await page.waitForURL(url + path);
      await tabTo(page, '#note');
      await page.keyboard.type('It was meant for the printer.');
      await tabTo(page, '#verdict');
      await page.keyboard.type('benign');
      await tabTo(page, 'button[value=close]');
      await page.keyboard.press('Enter');
      await page.waitForSelector('.history:has-text("benign")');
    }
    if (name === 'object') {
      await page.click('tbody a');
      await page.waitForSelector('#shares');
    }
    if (first && name === 'alerts') {
      // On to the second, back to the first, which is chosen and acknowledged.
      for (const key of ['j', 'j', 'k', 'x']) await page.keyboard.press(key);
      const chosen = await page.$$eval('tbody input', (boxes) => boxes.map((box) => box.checked));
      if (!chosen[0] || chosen.slice(1).some(Boolean)) found.push(`j, k and x chose ${chosen}`);
      await page.keyboard.press('e');
      if (await page.evaluate(() => document.activeElement.id) !== 'verdict') found.push('e does not ask for a reason');
      await page.locator('tbody a').first().focus();
      await page.keyboard.press('a');
      await page.waitForSelector('tbody tr:first-child:has-text("acknowledged")');
      // And the last but one is closed for the reason that is set.
      const last = page.locator('tbody tr').nth(-2);
      const number = await last.getAttribute('id');
      await last.locator('input').check();
      await page.selectOption('#verdict', { label: 'benign' });
      await last.locator('a').first().focus();
      await page.keyboard.press('e');
      await page.waitForSelector(`#${number}:has-text("closed")`);
    }
    if (first && name === 'no-alerts') {
      // While the list is followed, something comes: what was chosen stays chosen, and what was written stays there.
      await page.goto(`${url}/?state=all&follow=1`);
      await page.fill('#note', 'asked the courier');
      await page.locator('tbody tr').nth(1).locator('input').check();
      const row = await page.locator('tbody tr').nth(1).getAttribute('id');
      const before = await page.locator('tbody tr').count();
      execFileSync('python3', [seed, url, token, 'more']);
      await page.waitForFunction((count) => document.querySelectorAll('tbody tr').length > count, before, { timeout: 15000 });
      const chosen = await page.$$eval('tbody input:checked', (boxes) => boxes.map((box) => box.closest('tr').id));
      if (chosen.length !== 1 || chosen[0] !== row) found.push(`while followed, ${row} was chosen, and now ${chosen}`);
      if (await page.inputValue('#note') !== 'asked the courier') found.push('while followed, the note was lost');
      await look('followed');
      await page.selectOption('#severity', 'critical');
      await page.waitForURL('**severity=critical**');
      await page.waitForFunction(() => ![...document.querySelectorAll('tbody tr')].some((row) => !row.classList.contains('critical')));
      await page.goto(url + path);
    }
    if (name === 'trace') {
      await page.setInputFiles('input[type=file]', 'found.jpg');
      await page.locator('main form button[type=submit]').first().click();
      await page.waitForSelector('#found:has-text("No master is known")');
      await look('trace-result');
      await page.setInputFiles('input[type=file]', 'crop.jpg');
      await page.locator('main form button[type=submit]').first().click();
      await page.waitForSelector('.traced:has-text("KP1_0001.jpg"):has-text("courier disk")');
      const seen = await page.$$eval('.traced img', (pictures) => pictures.filter((picture) => picture.naturalWidth > 0).length);
      if (seen < 2) found.push(`of master and found picture ${seen} are shown side by side`);
      await look('trace-found');
      await page.goto(url + path);
    }
    if (name === 'search') {
      await page.goto(`${url}/objects`);
      await page.keyboard.press('/');
      await page.keyboard.type('K2B');
      await page.keyboard.press('Enter');
      await page.waitForURL('**/search?q=K2B');
      if (await page.locator('.found').count() < 3) found.push('the search found less than there is');
    }
    if (first && name === 'approvals') {
      await page.fill('#note-1', 'Not before the loan is signed.');
      await page.click('[aria-label="Deny request 1"]');
      await page.waitForSelector('b:has-text("denied")');
    }
    if (first && name === 'silences') {
      await page.goto(`${url}/alerts/2`);
      await page.click('text="Silence alerts like this"');
      await page.fill('#hours', '8');
      await page.fill('#reason', 'The courier disks are being tried.');
      await page.click('text="Silence"');
      await page.waitForSelector('[aria-label="End silence 1"]');
    }
    if (name === 'notifications') {
      await page.click(`[aria-label="Test this route: ${first ? 'desk' : 'nobody'}"]`);
      await page.waitForSelector('#tested');
    }
    if (first && name === 'policy') {
      for (const serial of [1, 2]) {
        await page.fill('#text', policy(serial));
        await page.fill('#note', serial === 1 ? 'As it was in the files.' : 'The website may have licensed copies (loan 14).');
        await page.click('text="Add"');
        await page.waitForSelector(`text="Version ${serial}"`);
      }
      await page.fill('#name', 'studio');
      await page.fill('#members', 'scan-*');
      await page.click('text="Keep"');
      await page.waitForSelector('dt:has-text("studio")');
      for (const [version, group] of [['1', 'all'], ['2', 'studio']]) {
        await page.selectOption('#version', version);
        await page.selectOption('#group', group);
        await page.click('text="Begin"');
        await page.waitForSelector(`text="10 % of ${group}"`);
      }
      await page.click('[aria-label="Raise the percentage of rollout 1"]');
      await page.waitForSelector('text="100 % of all"');
      await page.click('[aria-label="Halt rollout 2"]');
      await page.waitForSelector('b:has-text("halted")');
      await page.fill('#text', 'version = 2');
      await page.click('text="Add"');
      await page.waitForSelector('[role=alert]');
      await look('policy-refused');
      await page.goto(url + path);
    }
    if (name === 'users') {
      await page.fill('#name', `mei ${colorScheme}`);
      await page.selectOption('#role', 'analyst');
      await page.click('text="Add"');
      await page.waitForSelector('#link');
    }
    await look(name);
  }
  const invitation = await page.goto(`${url}/users`).then(async () => {
    await page.click(`[aria-label="Reset password and second factor of mei ${colorScheme}"]`);
    return page.textContent('code');
  });
  await page.goto(`${url}/account`);
  await look('account');
  await page.uncheck('#keys input');
  await page.goto(`${url}/hosts`);
  await page.keyboard.press('/');
  if (await page.evaluate(() => document.activeElement.id) === 'search') found.push('the key / cannot be turned off');
  await page.goto(`${url}/account`);
  if (first) {
    await page.click('text="Take up an authenticator"');
    await page.waitForSelector('svg');
    await look('enrolment');
    await page.fill('#code', codeOf(await page.textContent('dd code')));
    await page.click('text="Confirm"');
    await page.waitForSelector('#recovery');
    await look('recovery');
    recovery = await page.locator('.masters code').allTextContents();
  }
  await page.goto(invitation);
  await look('join');
  await context.close();
  await byProvider(browser, colorScheme, watch);
}
await browser.close();
if (passed === 0) found.push('axe checked nothing');
console.log(found.length ? found.join('\n') : `nothing found; ${passed} rules of axe passed`);
process.exit(found.length ? 1 : 0);
