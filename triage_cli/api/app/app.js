// The page `/app`. `made` is the only place that makes elements, and each text becomes a text node.
"use strict";

const KEY_PLACE = "triage-key"; // in the storage of this tab
const LONGEST_TEXT = 20000; // characters that are shown at once
// Control characters and changes of direction, by which a text could look like another one.
const HIDDEN = /[\p{Cc}\p{Bidi_Control}]/gu;
// What a person decides by. If only something else has changed, such as a delivery, a verdict is given all the same.
const DECIDED_BY = ["subject", "description", "category", "suggestion", "verdict", "reason"];
const state = { key: sessionStorage.getItem(KEY_PLACE), me: null, hasSimilar: true, busy: false, turn: 0 };

const at = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);
const moment = (text) => new Date(text).toLocaleString();
const spaced = (word) => word.replaceAll("_", " ");
const nameOf = (ticket) => cut(ticket.external_id || ticket.ticket_id.slice(-8), 40);
const mayDecide = () => ["agent", "admin"].includes(state.me.role);

function made(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  return fill(element, children);
}

function fill(element, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child != null && child !== false);
  element.replaceChildren(...wanted.map((child) => (child instanceof Node ? child : visible(String(child)))));
  return element;
}
const visible = (text) => text.replace(HIDDEN, (it) =>
  "\n\r\t".includes(it) ? it : `\\u${it.charCodeAt().toString(16).padStart(4, "0")}`);

const say = (sentence) => fill(at("said"), sentence);
const listed = (items, tag = "ul") => (items.length ? made(tag, {}, items.map((item) => made("li", {}, item))) : null);

// --- requests
class Problem extends Error {
  constructor(status, sentence, more) {
    super(sentence);
    Object.assign(this, { status }, more);
  }
}

async function call(path, body, headers = {}) {
  const sent = { headers: { Authorization: `Bearer ${state.key}`, ...headers } };
  if (body) {
    Object.assign(sent, { method: "POST", body: JSON.stringify(body) });
    sent.headers["Content-Type"] = "application/json";
  }
  const response = await fetch(path, sent).catch(() => null);
  const record = await response?.json().catch(() => (response.ok ? null : {}));
  if (!record) throw new Problem(0, "The server cannot be reached.");
  const [etag, link, wait] = ["ETag", "Link", "Retry-After"].map((name) => response.headers.get(name));
  if (response.ok) return { record, etag, link };
  const said = [record.detail || `the server answered ${response.status}`, record.hint].filter(Boolean).join(": ");
  const { ticket } = record;
  throw new Problem(response.status, `${said[0].toUpperCase()}${said.slice(1)}.`, { ticket, etag, wait });
}

// Sends what changes something, again until the server has answered: under one key it does that once.
async function send(path, body, headers = {}) {
  const once = { ...headers, "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") };
  for (let seconds = 1, repeated = false; ; seconds = Math.min(2 * seconds, 10), repeated = true) {
    try {
      return await call(path, body, once);
    } catch (problem) {
      if (!problem.wait && ![0, 502, 503, 504].includes(problem.status)) throw Object.assign(problem, { repeated });
      const wait = Math.min(problem.wait || seconds, 60);
      say(`${problem.message} This may not be stored yet, and is sent again in ${wait} s.`);
      await new Promise((resolve) => {
        setTimeout(resolve, 1000 * wait);
        addEventListener("online", resolve, { once: true });
      });
      if (!state.key) throw new Problem(0, "Signed out: the last change may not be stored.");
    }
  }
}

// Gives a verdict on what was seen. Raises a 412 with the present ticket if another person has changed that.
async function judge(seen, etag, category, note) {
  for (let tag = etag || "*"; ;) {
    try {
      return await send(`tickets/${seen.ticket_id}/verdict`, { category, note }, { "If-Match": tag });
    } catch (problem) {
      const now = problem.ticket;
      if (!now) throw problem;
      tag = problem.etag;
      // The answer to an earlier attempt was lost, and the verdict is there.
      if (problem.repeated && (now.verdict ? now.category : null) === category) return { record: now, etag: tag };
      if (!DECIDED_BY.every((name) => now[name] === seen[name])) throw problem;
    }
  }
}

// Does what a person asks for, one thing at a time, and says what went wrong.
async function doing(work) {
  if (state.busy) return;
  state.busy = true;
  try {
    await work();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) signOut(problem.message);
    else say(problem.message);
  } finally {
    state.busy = false;
  }
  if (state.me && state.hash !== location.hash) doing(openPage);
}

// --- signing in, and pages
async function signIn() {
  state.me = (await call("me")).record;
  state.categories = (await call("categories")).record.map((category) => category.name);
  state.keys = keysOf(state.categories);
  sessionStorage.setItem(KEY_PLACE, state.key);
  const { name, role, expires } = state.me;
  fill(at("me"), `${name} (${role}${expires ? `, until ${moment(expires)}` : ""})`);
  showParts();
  await openPage();
}

function signOut(sentence) {
  sessionStorage.removeItem(KEY_PLACE);
  Object.assign(state, { key: null, me: null });
  showParts();
  say(sentence);
  at("key").focus();
}

function showParts() {
  Object.assign(state, { shown: null, steps: [], queue: [], place: 0, next: null, marks: new Map() });
  at("sign-in").hidden = Boolean(state.me);
  for (const element of all("[data-signed-in]")) element.hidden = !state.me;
  for (const section of all("main > section")) section.hidden = true;
  for (const part of ["pane", "single", "today", "queue"]) fill(at(part));
}

async function openPage() {
  const [view, name] = location.hash.slice(1).split(/\/(.*)/s);
  const page = ["ticket", "today"].includes(view) ? view : "waiting";
  state.hash = location.hash;
  say("");
  for (const part of ["pane", "single", "today"]) fill(at(part));
  for (const section of all("main > section")) section.hidden = section.id !== page;
  for (const link of all("header a")) link.ariaCurrent = link.hash === `#${page}` ? "page" : null;
  document.title = `${page} - triage`;
  if (page === "waiting") await openQueue();
  else if (page === "today") await showToday();
  else if (name) {
    at("name").value = decodeURIComponent(name);
    const found = await call(`tickets?${new URLSearchParams({ name: at("name").value })}`);
    await show(found.record[0].ticket_id, at("single"));
  } else at("name").focus();
}

// --- the queue
function queuePath() {
  const asked = { limit: 50, status: "needs_review" };
  const search = at("filter").value.replace(/\b(priority|category):(?:"([^"]*)"|(\S+))/gi, (_, name, quoted, word) => {
    asked[name.toLowerCase() === "category" ? "suggestion" : "priority"] = quoted ?? word;
    return "";
  }).trim();
  if (search) asked.search = search;
  Object.assign(asked, { review: { order: "review" }, urgent: { sort: "priority:desc" } }[at("order").value]);
  return `tickets?${new URLSearchParams(asked)}`;
}

async function openQueue() {
  Object.assign(state, { queue: [], place: 0, next: queuePath() });
  const [counted] = await Promise.all([call("stats"), loadMore()]);
  fill(at("count"), `${(counted.record.by_status.needs_review || 0).toLocaleString()} wait for a person`);
  await goTo(0);
}

// Loads the next page. What was decided meanwhile lets others move up, so tickets may come again: they are left out.
async function loadMore() {
  for (let before = state.queue.length; state.next && state.queue.length === before;) {
    const { record, link } = await call(state.next);
    const known = new Set(state.queue.map((ticket) => ticket.ticket_id));
    state.queue.push(...record.filter((ticket) => !known.has(ticket.ticket_id)));
    const query = /<[^?>]*\?([^>]*)>; rel="next"/.exec(link);
    state.next = query && `tickets?${query[1]}`;
  }
  drawQueue();
}

function drawQueue() {
  fill(at("queue"), state.queue.map((ticket, place) => made("li", {}, made("button",
    { type: "button", "aria-current": place === state.place && "true", onclick: () => doing(() => goTo(place)) },
    cut(ticket.subject || ticket.description || "No text", 60),
    made("small", {}, state.marks.get(ticket.ticket_id) || guessed(ticket) || "no guess")))));
  at("more").hidden = !state.next;
}

async function goTo(place) {
  if (place >= state.queue.length) await loadMore();
  state.place = Math.max(0, Math.min(place, state.queue.length - 1));
  drawQueue();
  at("queue").children[state.place]?.scrollIntoView({ block: "nearest" });
  if (state.queue.length) await show(state.queue[state.place].ticket_id, at("pane"));
  else fill(at("pane"), made("p", {}, "No such ticket waits for a person."));
}

async function goOn(sentence) {
  let place = state.place;
  do {
    if (++place >= state.queue.length) await loadMore();
  } while (state.marks.has(state.queue[place]?.ticket_id));
  const isLast = place >= state.queue.length;
  await goTo(isLast ? state.place : place);
  say(isLast ? `${sentence} That was the last one.` : sentence);
}

// --- a ticket
async function show(id, pane) {
  const turn = ++state.turn;
  const path = `tickets/${id}`;
  const [{ record: ticket, etag }, why] = await Promise.all([call(path), call(`${path}/why`)]);
  if (turn !== state.turn) return; // another one is to be shown by now
  const similar = made("div", {});
  state.shown = { ticket, etag, pane };
  fill(pane, made("h2", { tabindex: -1 }, ticket.subject || "No subject"), factsOf(ticket), textOf(ticket.description),
    mayDecide() ? decisionOf(ticket) : made("p", {}, `Your role, ${state.me.role}, may read, and change nothing.`),
    made("h3", {}, "Why"), listed(why.record.why), listed(why.record.agent_suggestions.map((each) =>
      `${each.agent} suggests ${each.category}${each.note ? `: ${each.note}` : ""}`)),
    similar,
    made("details", { open: pane === at("single") }, made("summary", {}, "Deliveries and history"),
      made("h3", {}, "Deliveries"), listed(ticket.deliveries.map((each) =>
        `${each.destination}: ${each.state}, tried ${each.tries.length} times`)) || made("p", {}, "None."),
      made("h3", {}, "History"), listed(ticket.events.map((event) =>
        `${moment(event.timestamp)}: ${spaced(event.action)}, by ${event.actor}`), "ol")));
  addSimilar(similar, path);
  pane.querySelector("h2").focus({ preventScroll: true });
  const { top } = pane.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) pane.scrollIntoView();
}

// Adds similar tickets when they are found, which may take longer than all else.
async function addSimilar(place, path) {
  if (!state.hasSimilar) return;
  try {
    const { record } = await call(`${path}/similar?limit=2`);
    if (record.length) fill(place, made("h3", {}, "Similar tickets"), listed(record.map((other) => [
      made("a", { href: `#ticket/${encodeURIComponent(other.ticket_id)}` }, cut(other.subject || nameOf(other), 200)),
      other.category && `: ${other.category}`])));
  } catch (problem) {
    state.hasSimilar = problem.status !== 404; // an older server has none
  }
}

function factsOf(ticket) {
  const facts = {
    Ticket: ticket.external_id || ticket.ticket_id, From: ticket.source, Customer: ticket.customer_id,
    Priority: ticket.priority, Written: ticket.created_at && moment(ticket.created_at), Status: spaced(ticket.status),
    Category: ticket.category && `${ticket.category}${ticket.verdict ? ", by a person" : ""}`, Guess: guessed(ticket),
    Reason: ticket.reason, "Sent to": ticket.routed_to, Error: ticket.error,
  };
  const answers = Object.entries(ticket.answers || {}).map(([name, { value, suggestion }]) =>
    [name, value ?? (suggestion && `${suggestion} (a guess)`)]);
  const all = [...Object.entries(facts), ...answers, ...Object.entries(ticket.extra)];
  const known = all.filter(([, fact]) => fact || fact === 0);
  return made("dl", {}, known.map(([name, fact]) =>
    [made("dt", {}, name), made("dd", {}, typeof fact === "object" ? JSON.stringify(fact) : fact)]));
}

function guessed(ticket) {
  if (!ticket.suggestion || ticket.confidence === null) return ticket.suggestion;
  return `${ticket.suggestion}, ${Math.round(100 * ticket.confidence)} % sure (${ticket.confidence_source})`;
}

function textOf(text) {
  const shown = made("div", { class: "text" }, (text || "").slice(0, LONGEST_TEXT));
  const rest = (text || "").length - LONGEST_TEXT;
  const all = () => made("button", { type: "button", onclick: () => fill(shown, text) }, `${rest} characters more`);
  if (rest > 0) shown.append("… ", all());
  return shown;
}

// The questions that a person answers, each a row of buttons. `keys` are its values by the key that gives each.
const questionsOf = (ticket) => [
  { name: "category", label: "Category", values: state.categories, keys: state.keys, guess: guessOf(ticket) },
];

function guessOf(ticket) {
  const guess = ticket.suggestion || ticket.category;
  return state.categories.includes(guess) && !ticket.verdict ? guess : null;
}

// Each name behind the one whose level it is below: that with which it begins before a slash.
function inLevels(values) {
  const parentOf = (name) => values.filter((other) => name.startsWith(`${other}/`)).sort().at(-1);
  const below = (parent) => values.filter((name) => parentOf(name) === parent).flatMap((one) => [one, ...below(one)]);
  return below(undefined);
}

function decisionOf(ticket) {
  const shownKey = (key) => key && made("kbd", {}, key);
  const button = (key, label, work, more) => made("button",
    { type: "button", "aria-keyshortcuts": key, onclick: () => doing(work), ...more }, shownKey(key), ` ${label}`);
  const field = (id, key, label, more) => [made("label", { for: id }, shownKey(key), ` ${label}`),
    made("input", { id, autocomplete: "off", maxlength: 10000, onkeydown: leave, ...more })];
  return [questionsOf(ticket).map(({ name, label, values, keys, guess }) => made("fieldset", { "data-question": name },
    made("legend", {}, label), made("div", { class: "choices" }, inLevels(values).map((value) => button(
      [...keys.keys()].find((key) => keys.get(key) === value), value === guess ? `${value} (the guess)` : value,
      () => give(name, value), { "data-value": value, class: value === guess && "guess" }))))),
  made("div", { class: "line" }, field("by-name", "/", "Category", { oninput: narrow }), field("note", "n", "Note")),
  made("div", { class: "choices" }, state.shown.pane === at("pane") && button("s", "Skip", skip),
    button("u", "Undo", undo), ticket.category && button("r", ticket.routed_to ? "Send again" : "Route now", route))];
}

// Shows the categories that begin with what is typed; Enter gives the one that is left, or is typed whole.
function narrow() {
  const typed = at("by-name").value.trim().toLowerCase();
  const buttons = all("section:not([hidden]) [data-question=category] button");
  for (const button of buttons) button.hidden = !button.dataset.value.toLowerCase().startsWith(typed);
  const left = buttons.filter((button) => !button.hidden);
  return left.find((button) => button.dataset.value.toLowerCase() === typed) || (left.length === 1 ? left[0] : null);
}

function leave(event) {
  if (!["Enter", "Escape"].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
  const button = event.target.id === "by-name" && event.key === "Enter" && narrow();
  if (button) button.click();
  else if (button === null) say("No category begins so, or several do.");
  else state.shown.pane.querySelector("h2").focus();
}

// --- deciding
async function give(question, category) {
  const { ticket, etag, pane } = state.shown;
  try {
    const { record, etag: tag } = await judge(ticket, etag, category, at("note").value.trim() || null);
    state.steps.push({ before: ticket, after: record, etag: tag, category });
  } catch (problem) {
    if (!problem.ticket) throw problem;
    await show(ticket.ticket_id, pane);
    say(`Nothing was changed, since ${changeOf(ticket, problem.ticket)}. Give it again to overrule that.`);
    return;
  }
  state.marks.set(ticket.ticket_id, `✓ ${category}`);
  const sentence = `${nameOf(ticket)}: ${category}; u takes it back.`;
  if (pane === at("pane")) await goOn(sentence);
  else await show(ticket.ticket_id, pane).then(() => say(sentence));
}

function changeOf(seen, now) {
  if (["subject", "description"].some((name) => now[name] !== seen[name])) return "its text has changed";
  if (now.verdict) return `another person has decided: ${now.category}`;
  return seen.verdict ? "another person has taken the verdict back" : "its guess has changed";
}

async function skip() {
  const { ticket, pane } = state.shown;
  if (pane !== at("pane")) return;
  state.steps.push({ before: ticket, category: null });
  if (!state.marks.has(ticket.ticket_id)) state.marks.set(ticket.ticket_id, "skipped");
  await goOn(`${nameOf(ticket)}: skipped; u takes it back.`);
}

async function undo() {
  const { before, after, etag, category } = state.steps.at(-1) || {};
  if (!before) return say("There is nothing to undo.");
  let sentence = "Back.";
  if (category !== null) {
    try {
      await judge(after, etag, ...(before.verdict ? [before.category, before.reason || ""] : [null, null]));
      sentence = `Taken back: ${category}.`;
    } catch (problem) {
      if (!problem.ticket) throw problem;
      sentence = `${nameOf(before)} stays as it is, since ${changeOf(after, problem.ticket)}.`;
    }
  }
  state.steps.pop();
  state.marks.delete(before.ticket_id);
  const place = state.queue.findIndex((ticket) => ticket.ticket_id === before.ticket_id);
  if (state.shown.pane === at("pane") && place >= 0) await goTo(place);
  else await show(before.ticket_id, state.shown.pane);
  say(sentence);
}

async function route() {
  const { ticket, pane } = state.shown;
  if (!ticket.category) return say("There is nothing to route: it has no category yet.");
  const again = Boolean(ticket.routed_to);
  if (again && !confirm(`Send ${nameOf(ticket)} to ${ticket.routed_to} again?`)) return;
  const { record } = await send(`tickets/${ticket.ticket_id}/route`, { again, retry_dead: true });
  await show(ticket.ticket_id, pane);
  say(`${nameOf(ticket)}: ${record.problem?.detail || `${spaced(record.status)} ${record.routed_to || ""}`}`);
}

// --- today
async function showToday() {
  const since = new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
  const ofToday = (path, more) => call(`${path}?${new URLSearchParams({ since, ...more })}`);
  const mine = { actor: state.me.name, action: "verdict", after: 0, limit: 1000 };
  const [stats, groups, overruled, given] = (await Promise.all([
    call("stats"), ofToday("stats/groups", { by: "category" }), ofToday("stats/overruled"), ofToday("logs", mine),
  ])).map((answer) => answer.record);
  const sum = (name) => groups.reduce((total, group) => total + group[name], 0).toLocaleString();
  fill(at("today"), made("h2", {}, "Today"),
    made("p", {}, `${sum("tickets")} tickets came since midnight; ${sum("needs_review")} of them wait for a person; `
      + `in all, ${(stats.by_status.needs_review || 0).toLocaleString()} wait.`),
    made("p", {}, `You gave or took back ${given.length < mine.limit ? given.length : "1,000 or more"} verdicts.`),
    table("What came", ["Category", "Tickets"], groups.map((group) => [group.category || "none yet", group.tickets])),
    table("Overruled today", ["The machine's category", "Judged", "Overruled"],
      overruled.map((each) => [each.category, each.judged, each.overruled])),
    table("Deliveries of all days", ["Destination", "Accepted", "Pending", "Failed"],
      Object.entries(stats.deliveries).map(([name, of]) => [name, of.accepted || 0, of.pending || 0, of.dead || 0])));
}

function table(title, names, rows) {
  return [made("h3", {}, title), rows.length ? made("table", {},
    made("thead", {}, made("tr", {}, names.map((name) => made("th", { scope: "col" }, name)))),
    made("tbody", {}, rows.map((row) => made("tr", {}, row.map((cell) => made("td", {}, cell.toLocaleString()))))),
  ) : made("p", {}, "None.")];
}

// --- keys
// As the terminal has them: digits for the first nine categories, and for each the first free letter of its name.
function keysOf(categories) {
  const keys = new Map(categories.slice(0, 9).map((name, place) => [String(place + 1), name]));
  const used = new Set("qsunforlw");
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const upper = (some) => some.map((letter) => letter.toUpperCase());
  for (const name of categories) {
    const own = [...name.toLowerCase()].filter((letter) => letters.includes(letter));
    const free = [...own, ...upper(own), ...letters, ...upper(letters)].find((letter) => !used.has(letter));
    if (free) keys.set(free, name);
    used.add(free);
  }
  return keys;
}

const toPlace = (place) => (at("waiting").hidden ? null : goTo(Math.max(0, place)));
const DECIDING = {
  "/": () => at("by-name").focus(), n: () => at("note").focus(), s: skip, u: undo, r: route,
  Enter: () => {
    const guess = guessOf(state.shown.ticket);
    return guess ? give("category", guess) : say("There is no guess to take: another key gives a category.");
  },
};
const MOVING = {
  "?": () => at("help").showModal(), q: () => signOut("Signed out."), f: () => at("filter").focus(),
  o: () => {
    at("order").selectedIndex = (at("order").selectedIndex + 1) % at("order").length;
    return openQueue();
  },
  ArrowUp: () => toPlace(state.place - 1), ArrowDown: () => toPlace(state.place + 1),
  PageUp: () => toPlace(state.place - 10), PageDown: () => toPlace(state.place + 10),
  Home: () => toPlace(0), End: () => toPlace(state.queue.length - 1),
  " ": () => scrollBy(0, 0.9 * innerHeight), Backspace: () => scrollBy(0, -0.9 * innerHeight),
};

function press(event) {
  const { target, key } = event;
  const isOff = !state.me || at("help").open || !at("single-keys").checked;
  if (isOff || event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select")) return;
  if (target.closest("button, a, summary") && ["Enter", " "].includes(key)) return;
  const decide = DECIDING[key] || (state.keys.has(key) && (() => give("category", state.keys.get(key))));
  if (!MOVING[key] && !decide) return;
  event.preventDefault();
  if (MOVING[key]) doing(async () => MOVING[key]());
  else if (state.shown?.pane.querySelector("h2") && mayDecide()) doing(async () => decide());
  else say("There is no ticket here that you may decide.");
}

// --- begin
const on = (id, type, work) => at(id).addEventListener(type, (event) => {
  if (type === "submit") event.preventDefault();
  work();
});
on("sign-in", "submit", () => {
  state.key = at("key").value.trim();
  at("key").value = "";
  if (!/^[!-~]+$/.test(state.key)) say("This is no key: keys have neither blanks nor letters beyond ASCII.");
  else doing(() => signIn().then(() => say("")));
});
on("open", "submit", () => { location.hash = `#ticket/${encodeURIComponent(at("name").value.trim())}`; });
on("find", "submit", () => at("filter").blur());
on("filter", "change", () => doing(openQueue));
on("order", "change", () => doing(openQueue));
on("more", "click", () => doing(loadMore));
on("sign-out", "click", () => signOut("Signed out."));
on("show-help", "click", () => at("help").showModal());
addEventListener("hashchange", () => state.me && doing(openPage));
addEventListener("keydown", press);
addEventListener("beforeunload", (event) => state.busy && event.preventDefault());
showParts();
if (state.key) doing(signIn);
