// Single keys: `/` goes to the search; in the list of alerts `j` and `k` go to the next and the one before, `x` chooses it,
// `a` acknowledges the chosen ones, and `e` closes them for the reason that is set, or goes to where it is set. Whoever
// speaks to his machine, or types without looking, can turn them off on the page of his account (WCAG 2.2, 2.1.4); this
// browser remembers it. Every page works without this file.
const OFF = 'keys-off';
const ROW = 'row';
const isOff = () => localStorage.getItem(OFF) === '1';
const rows = () => [...document.querySelectorAll('form.bulk tbody tr')];
const link = (row) => row.querySelector('a');

// The list is loaded anew while it is followed: the place in it is kept by the alert.
const place = () => rows().findIndex((row) => link(row).getAttribute('href') === sessionStorage.getItem(ROW));
const go = (by) => {
  const all = rows();
  const at = place();
  const next = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  if (!next) return false;
  sessionStorage.setItem(ROW, link(next).getAttribute('href'));
  link(next).focus();
  return true;
};
const press = (step) => {
  const button = document.querySelector(`form.bulk button[value="${step}"]`);
  if (!button || !document.querySelector('form.bulk tbody input:checked')) return false;
  button.click();
  return true;
};
const focus = (id) => {
  const element = document.getElementById(id);
  element?.focus();
  return Boolean(element);
};
const STEPS = {
  '/': () => focus('search'),
  j: () => go(1),
  k: () => go(-1),
  x: () => {
    const box = rows()[place()]?.querySelector('input');
    if (box) box.checked = !box.checked;
    return Boolean(box);
  },
  a: () => press('acknowledge'),
  e: () => (document.getElementById('verdict')?.value ? press('close') : focus('verdict')),
};

document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest('input:not([type="checkbox"]), select, textarea, [contenteditable]');
  if (event.ctrlKey || event.altKey || event.metaKey || isTyping || isOff()) return;
  if (Object.hasOwn(STEPS, event.key) && STEPS[event.key]()) event.preventDefault();
});

const row = document.getElementById('keys');
if (row) {
  row.hidden = false;
  const box = row.querySelector('input');
  box.checked = !isOff();
  box.addEventListener('change', () => localStorage.setItem(OFF, box.checked ? '0' : '1'));
}
