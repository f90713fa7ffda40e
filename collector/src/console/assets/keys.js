// `/` goes to the search. Whoever speaks to his machine, or types without looking, can turn that off on the page of his
// account (WCAG 2.2, 2.1.4); this browser remembers it. Every page works without this file.
const OFF = 'keys-off';
const isOff = () => localStorage.getItem(OFF) === '1';

document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest('input, select, textarea, [contenteditable]');
  if (event.key !== '/' || event.ctrlKey || event.altKey || event.metaKey || isTyping || isOff()) return;
  const search = document.getElementById('search');
  if (!search) return;
  event.preventDefault();
  search.focus();
});

const row = document.getElementById('keys');
if (row) {
  row.hidden = false;
  const box = row.querySelector('input');
  box.checked = !isOff();
  box.addEventListener('change', () => localStorage.setItem(OFF, box.checked ? '0' : '1'));
}
