// A deck's own keys: 1 to 3 vote, 0 begins the vote anew, d changes between light and dark.
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const follow = () => { root.dataset.theme = dark.matches ? 'dark' : 'light'; };
  dark.addEventListener('change', follow);
  follow();

  const counts = {};
  const countsOf = name => counts[name] ??= [0, 0, 0];
  const show = name => {
    const votes = countsOf(name);
    for (const list of document.querySelectorAll(`ol.vote[data-vote="${name}"]`))
      list.querySelectorAll('output').forEach((place, answer) => { place.textContent = votes[answer] || ''; });
    for (const line of document.querySelectorAll(`p.tally[data-vote="${name}"]`))
      line.textContent = votes.some(Boolean) ? 'The room: ' + votes.map((n, answer) => `${answer + 1}: ${n}`).join(' · ') : '';
  };
  const vote = (list, answer) => { countsOf(list.dataset.vote)[answer] += 1; show(list.dataset.vote); };
  const here = () => Reveal.getCurrentSlide()?.querySelector('ol.vote');

  for (const list of document.querySelectorAll('ol.vote'))
    list.querySelectorAll('button').forEach((button, answer) => button.addEventListener('click', () => vote(list, answer)));

  // A slider that the pointer has moved leaves the arrow keys to the slides again.
  document.addEventListener('pointerup', event => { if (event.target.matches('.explorer input')) event.target.blur(); });

  const hint = document.createElement('div');
  hint.className = 'hint';
  hint.textContent = '→ next slide · s speaker view · f full screen · d light or dark · ? all keys';
  document.querySelector('.slides section section')?.append(hint);

  Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: 'c/t', transition: 'none', controls: false,
    defaultTiming: document.querySelector('[data-timing]') ? 60 : null, plugins: [RevealNotes],
  });
  for (const answer of [0, 1, 2])
    Reveal.addKeyBinding({ keyCode: 49 + answer, key: String(answer + 1), description: 'Vote for answer ' + (answer + 1) },
      () => { if (here()) vote(here(), answer); });
  Reveal.addKeyBinding({ keyCode: 48, key: '0', description: 'Begin the vote anew' },
    () => { if (here()) { counts[here().dataset.vote] = [0, 0, 0]; show(here().dataset.vote); } });
  Reveal.addKeyBinding({ keyCode: 68, key: 'D', description: 'Light or dark' },
    () => { root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark'; });
})();
