'use strict';
const box = document.getElementById('q'), told = document.getElementById('n');
const days = [...document.querySelectorAll('section')];
let texts = null, timer = 0, run = 0;
// Each line's text is read once, at the first search.
function read() {
  if (texts) return;
  texts = days.map(d => [...d.querySelectorAll('p')].map(p => [p, p.textContent.toLowerCase()]));
}
function chapters() {
  for (const c of document.querySelectorAll('article')) c.hidden = !c.querySelector('section:not([hidden])');
}
// All words must stand in a line. Days go by in pieces, so that the page stays awake.
function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(w => w), mine = ++run;
  let hits = 0, i = 0;
  read();
  function piece() {
    if (mine !== run) return;
    const end = performance.now() + 50;
    for (; i < days.length && performance.now() < end; i++) {
      let here = 0;
      for (const [p, text] of texts[i]) {
        p.hidden = !words.every(w => text.includes(w));
        if (!p.hidden) here++;
      }
      days[i].hidden = here === 0;
      hits += here;
    }
    told.textContent = words.length ? hits + (hits === 1 ? ' line' : ' lines') + (i < days.length ? ' …' : '') : '';
    if (i < days.length) setTimeout(piece, 0); else chapters();
  }
  piece();
}
box.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(search, 200); });
// A click on a line that was found shows what stands around it.
document.querySelector('main').addEventListener('click', ev => {
  const p = ev.target.closest('p');
  if (!p || !box.value || String(getSelection())) return;
  box.value = '';
  search();
  const old = document.getElementById('hit');
  if (old) old.removeAttribute('id');
  p.id = 'hit';
  location.hash = '#hit';
  p.scrollIntoView({block: 'center'});
});
// page.html#q=word searches at once.
const m = /^#q=(.*)$/.exec(location.hash);
if (m) { try { box.value = decodeURIComponent(m[1]); } catch (e) { box.value = m[1]; } search(); }
