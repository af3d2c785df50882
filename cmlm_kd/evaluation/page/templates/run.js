/* Translations: their order, the run that is shown, those that have a word. */
function startTranslations() {
  const atOnce = 10;
  const place = byId("examples");
  const examples = [...place.children];
  const scores = new Map(examples.map((example) => [example, JSON.parse(example.dataset.scores)]));
  const [order, run, find, more] = ["order", "run", "find", "more"].map(byId);
  let most = atOnce;

  function show() {
    const word = find.value.trim().toLowerCase();
    let found = 0;
    for (const example of place.children) {
      const fits = !word || [...example.querySelectorAll("dd")].some((text) => text.textContent.toLowerCase().includes(word));
      found += fits;
      example.hidden = !fits || found > most;
    }
    byId("found").textContent = `${Math.min(found, most)} of ${found} shown`;
    more.hidden = found <= most;
  }
  function sort() {
    const [student, direction] = order.value.split(" ");
    const gain = (example) => (scores.get(example)[student] - scores.get(example)[0]) * (direction === "up" ? -1 : 1);
    place.append(...(order.value ? [...examples].sort((one, other) => gain(one) - gain(other)) : examples));
    show();
  }
  /* A student with fewer runs shows its last one. */
  function chooseRun() {
    for (const translation of place.querySelectorAll(".translation")) {
      const { run: own, runs } = translation.dataset;
      translation.hidden = Number(own) !== Math.min(Number(run.value), Number(runs) - 1);
    }
  }
  order.addEventListener("change", () => { most = atOnce; sort(); });
  run?.addEventListener("change", chooseRun);
  find.addEventListener("input", () => { most = atOnce; show(); });
  more.addEventListener("click", () => { most += atOnce; show(); });
  byId("translation-controls").hidden = false;
  if (run) chooseRun();
  show();
}

/* Soft targets: a sentence, one of its tokens, and what everyone believed there. */
function startBeliefs() {
  if (!byId("data")) return;
  const { sentences } = JSON.parse(byId("data").textContent);
  if (!sentences.length) return;
  const speakers = JSON.parse(byId("speaker-data").textContent);
  const colours = speakers.map(({ colour }) => (colour === null ? "teacher" : `c${colour % 5}`));
  const [choice, tokens] = ["sentence", "tokens"].map(byId);
  let sentence = sentences[0];

  const goldOf = (token) => token.entries.find((entry) => entry.gold);
  const spelled = (symbol) => (symbol === "</s>" ? "end of sentence" : symbol);
  const said = (belief) => (belief === null ? "not among its best" : percent(belief));

  function showToken(number, focus) {
    const buttons = [...tokens.children];
    buttons.forEach((button, place) => {
      button.setAttribute("aria-checked", String(place === number));
      button.tabIndex = place === number ? 0 : -1;
    });
    if (focus) buttons[number].focus();
    const token = sentence.tokens[number];
    const beliefs = goldOf(token).beliefs.map((belief, place) => `${speakers[place].name} ${said(belief)}`);
    byId("said").textContent = `The reference goes on with “${spelled(token.symbol)}”: ${beliefs.join(", ")}.`;
    const rows = token.entries.map((entry) => {
      const name = make("span", { className: "symbol", dir: "auto" }, spelled(entry.symbol));
      if (entry.gold) name.append(make("small", {}, "the reference's"));
      return entryRow(name, entry.beliefs, entry.gold);
    });
    const rest = make("span", { className: "symbol" }, make("small", {}, "all others together"));
    byId("entries").replaceChildren(...rows, entryRow(rest, token.rest, false));
  }
  function entryRow(name, beliefs, gold) {
    const bars = beliefs.map((belief, place) =>
      make("div", { className: "row", title: `${speakers[place].name}: ${said(belief)}` },
        bar(belief ?? 0, colours[place]), belief === null ? "–" : percent(belief)));
    return make("div", { className: gold ? "entry gold" : "entry" }, name, make("div", {}, ...bars));
  }
  function showSentence(number) {
    choice.value = String(number);
    sentence = sentences[number];
    byId("source").textContent = sentence.source;
    const buttons = sentence.tokens.map((token, place) => {
      const bars = goldOf(token).beliefs.map((belief, speaker) => bar(belief ?? 0, colours[speaker]));
      const button = make("button", { type: "button", className: "token", dir: "auto" }, spelled(token.symbol), ...bars);
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => showToken(place, true));
      return button;
    });
    tokens.replaceChildren(...buttons);
    byId("previous").disabled = number === 0;
    byId("next").disabled = number === sentences.length - 1;
    showToken(0, false);
  }
  tokens.addEventListener("keydown", (event) => {
    const count = sentence.tokens.length;
    const now = [...tokens.children].indexOf(document.activeElement);
    const to = {
      ArrowRight: (now + 1) % count,
      ArrowDown: (now + 1) % count,
      ArrowLeft: (now - 1 + count) % count,
      ArrowUp: (now - 1 + count) % count,
      Home: 0,
      End: count - 1,
    }[event.key];
    if (now < 0 || to === undefined) return;
    event.preventDefault();
    showToken(to, true);
  });
  choice.addEventListener("change", () => showSentence(Number(choice.value)));
  byId("previous").addEventListener("click", () => showSentence(Number(choice.value) - 1));
  byId("next").addEventListener("click", () => showSentence(Number(choice.value) + 1));
  byId("browser").hidden = false;
  showSentence(0);
}

startTranslations();
startBeliefs();
