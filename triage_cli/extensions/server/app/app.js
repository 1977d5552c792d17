// The page `/app`: signing in, which part is shown, and keys.
import { all, at, call, doing, fill, language, moment, Problem, say, state, tr } from "./base.js";
import { goTo, loadMore, openQueue, refreshQueue, show } from "./deciding.js";
import { moreFound, refreshTickets, searchAddress, setUpSearch, showTickets } from "./tickets.js";
import { asQuestion, mayDecide } from "./verdicts.js";
import { showWeek } from "./week.js";

const KEY_PLACE = "triage-key"; // in the storage of this tab
const ALONE = 300; // ms without another key, after which a letter is no part of a word
const POLL = 4000; // ms between two looks at what others have done

// --- signing in, and pages
async function signIn() {
  state.me = (await call("me")).record;
  state.questions = (await call("questions")).record.map(asQuestion);
  sessionStorage.setItem(KEY_PLACE, state.key);
  Object.assign(state, { steps: [], marks: new Map(), queue: [], place: 0, next: null });
  setUpSearch();
  const { name, role, expires } = state.me;
  fill(at("me"), expires ? tr("{0} ({1}, until {2})", name, role, moment(expires)) : `${name} (${role})`);
  await openPage();
}

function signOut(sentence) {
  sessionStorage.removeItem(KEY_PLACE);
  Object.assign(state, { key: null, me: null });
  showParts();
  say(sentence);
  at("key").focus();
}

const PAGES = {
  waiting: openQueue,
  tickets: showTickets,
  week: () => showWeek(),
  async ticket(name) {
    if (!name) return at("name").focus();
    at("name").value = decodeURIComponent(name);
    const found = await call(`tickets?${new URLSearchParams({ name: at("name").value })}`);
    return show(found.record[0].ticket_id);
  },
};

function showParts(page) {
  state.page = page;
  at("sign-in").hidden = Boolean(state.me);
  for (const part of all("[data-signed-in]")) part.hidden = !state.me;
  for (const part of all("[data-page]")) part.hidden = part.dataset.page !== page;
  for (const link of all("header a")) link.ariaCurrent = link.hash === `#${page}` ? "page" : null;
  for (const part of ["pane", "week", "queue", "found"]) fill(at(part));
  say("");
}

async function openPage() {
  const [view, rest] = location.hash.slice(1).split(/[/?](.*)/s);
  const page = Object.hasOwn(PAGES, view) ? view : "waiting";
  state.hash = location.hash;
  showParts(page);
  document.title = `${at(`to-${page}`).textContent} - triage`;
  await PAGES[page](rest);
}

// Looks at what others have done to the tickets that are shown, while the page is in view.
async function poll() {
  const refresh = { waiting: refreshQueue, tickets: refreshTickets }[state.page];
  if (!state.me || state.busy || document.hidden || !refresh) return;
  try {
    await refresh();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem; // what a server did not answer now it may the next time
  }
}

// --- keys
const toPlace = (place) => state.page === "waiting" && goTo(Math.max(0, place));
const MOVING = {
  o: () => {
    if (state.page !== "waiting") return null;
    at("order").selectedIndex = (at("order").selectedIndex + 1) % at("order").length;
    return openQueue();
  },
  ArrowUp: () => toPlace(state.place - 1), ArrowDown: () => toPlace(state.place + 1),
  PageUp: () => toPlace(state.place - 10), PageDown: () => toPlace(state.place + 10),
  Home: () => toPlace(0), End: () => toPlace(state.queue.length - 1),
  " ": () => scrollBy(0, 0.9 * innerHeight), Backspace: () => scrollBy(0, -0.9 * innerHeight),
};

// A key moves, or presses the button or opens the field that has it.
function press(event) {
  const { target, key } = event;
  const isOff = !state.me || at("help").open || !at("single-keys").checked;
  if (isOff || event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select")) return;
  if (target.closest("button, a, summary") && ["Enter", " "].includes(key)) return;
  if (key.length > 1 && key !== "Enter" && !MOVING[key]) return;
  event.preventDefault();
  if (event.repeat && !MOVING[key]) return;
  if (isWord(key, event.timeStamp)) {
    say(tr("Nothing was done, since this looks like a word: / finds tickets by it."));
    return;
  }
  const its = all("[aria-keyshortcuts]").find((each) =>
    each.ariaKeyShortcuts.split(" ").includes(key) && each.checkVisibility());
  if (its?.matches("input")) { // what comes after this key is for the field
    state.typed = null;
    its.focus();
  } else if (isLetter(key)) state.letter = setTimeout(act, ALONE, key, its);
  else act(key, its);
}

const isLetter = (key) => /^[\p{L}\p{N}]$/u.test(key); // or a digit

// Whether a key comes with letters: then it is part of a word, and so is a letter that waits to act.
function isWord(key, moment) {
  if (key.length > 1 && key !== "Enter") return false;
  const [before, since] = [state.typed, moment - (state.typed?.moment || 0)];
  state.typed = { moment, letter: isLetter(key), word: false };
  if (!before || since > (before.word ? 3 : 1) * ALONE || !(before.letter || before.word)) return false;
  clearTimeout(state.letter);
  return (state.typed.word = true);
}

function act(key, its) {
  if (MOVING[key]) doing(async () => MOVING[key]());
  else if (its?.isConnected) its.click();
  else say(mayDecide() ? tr("There is nothing here that {0} does.", key)
    : tr("There is no ticket here that you may decide."));
}

// --- the fixed parts of the page
function translate() {
  document.documentElement.lang = language;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    const text = data.trim();
    if (/\p{L}{2}/u.test(text) && !parentElement.closest("kbd, noscript, [translate=no]")) {
      texts.currentNode.data = data.replace(text, () => tr(text));
    }
  }
  for (const each of all("[aria-label]")) each.ariaLabel = tr(each.ariaLabel);
}

const on = (id, type, work) => at(id).addEventListener(type, (event) => {
  if (type === "submit") event.preventDefault();
  work();
});
on("sign-in", "submit", () => {
  state.key = at("key").value.trim();
  at("key").value = "";
  if (!/^[!-~]+$/.test(state.key)) say(tr("This is no key: keys have neither blanks nor letters beyond ASCII."));
  else doing(() => signIn().then(() => say("")));
});
on("open", "submit", () => { location.hash = `#ticket/${encodeURIComponent(at("name").value.trim())}`; });
on("find", "submit", () => at("filter").blur());
on("find", "change", () => doing(openQueue));
on("search", "submit", () => { at("words").blur(); });
on("search", "change", () => { location.hash = searchAddress(); });
on("more", "click", () => doing(loadMore));
on("more-found", "click", () => doing(moreFound));
on("sign-out", "click", () => signOut(tr("Signed out.")));
on("show-help", "click", () => at("help").showModal());
addEventListener("hashchange", () => state.me && doing(openPage));
addEventListener("keydown", press);
addEventListener("beforeunload", (event) => state.busy && event.preventDefault());
setInterval(poll, POLL);
Object.assign(state, { key: sessionStorage.getItem(KEY_PLACE), openPage, signOut });
translate();
showParts();
if (state.key) doing(signIn);
else at("key").focus();
