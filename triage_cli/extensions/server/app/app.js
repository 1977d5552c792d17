// The page `/app`. `made` is the only place that makes elements, and each text becomes a text node.
"use strict";

const KEY_PLACE = "triage-key"; // in the storage of this tab
const LONGEST_TEXT = 20000; // characters that are shown at once
// Control characters and changes of direction, by which a text could look like another one.
const HIDDEN = /[\p{Cc}\p{Bidi_Control}]/gu;
const MOST_UNDONE = 10; // verdicts and skips that undo names
const ALONE = 300; // ms without another key, after which a letter is no part of a word
const NEARLY_SAME = 0.9; // the similarity from which on two tickets wait for the same answer
const state = { key: sessionStorage.getItem(KEY_PLACE), me: null, busy: false };

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

const shown = (keys) => keys && keys.split(" ").map((key) => [made("kbd", {}, key), " "]);
const button = (label, work, keys, more) => made("button",
  { type: "button", onclick: () => doing(work), "aria-keyshortcuts": keys, ...more }, shown(keys), label);
const visible = (text) => text.replace(HIDDEN, (it) =>
  "\n\r\t".includes(it) ? it : `\\u${it.charCodeAt().toString(16).padStart(4, "0")}`);

const say = (...what) => fill(at("said"), what);
const counted = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
const listed = (items, tag = "ul") => (items.length ? made(tag, {}, items.map((item) => made("li", {}, item))) : null);

// --- requests
class Problem extends Error {}
const problemOf = (sentence, more) => Object.assign(new Problem(sentence), more);

async function call(path, body, more) {
  const headers = { Authorization: `Bearer ${state.key}`, "Content-Type": "application/json", ...more };
  const sent = body ? { headers, method: "POST", body: JSON.stringify(body) } : { headers };
  const response = await fetch(path, sent).catch(() => null);
  const record = await response?.json().catch(() => (response.ok ? null : {}));
  if (!record) throw problemOf("The server cannot be reached.", { status: 0 });
  const [etag, link, wait] = ["ETag", "Link", "Retry-After"].map((name) => response.headers.get(name));
  if (response.ok) return { record, etag, link };
  const said = [record.detail || `the server answered ${response.status}`, record.hint].filter(Boolean).join(": ");
  const { status } = response;
  throw problemOf(`${said[0].toUpperCase()}${said.slice(1)}.`, { status, ticket: record.ticket, etag, wait });
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
      if (!state.key) throw problemOf("Signed out: the last change may not be stored.");
    }
  }
}

// Gives a verdict on what was seen; if another person has changed that, nothing is given, and `change` tells it.
async function judge(before, etag, question, value, note) {
  const body = { category: value, note, question: question.name };
  for (let tag = etag; ;) {
    try {
      const { record, etag: now } = await send(`tickets/${before.ticket_id}/verdict`, body, { "If-Match": tag || "*" });
      return { before, after: record, etag: now };
    } catch (problem) {
      const { ticket: after, etag: now, repeated } = problem;
      if (!after) throw problem;
      const { value: given, verdict } = answerTo(question, after);
      // The answer to an earlier attempt was lost, and the verdict is there.
      if (repeated && (verdict ? given : null) === value) return { before, after, etag: now };
      const change = changeOf(question, before, after);
      if (change) return { before, change };
      tag = now;
    }
  }
}

// Tells what has changed by which a person decides; if it is only something else, a verdict is given all the same.
function changeOf(question, seen, now) {
  const [before, given] = [answerTo(question, seen), answerTo(question, now)];
  if (["subject", "description"].some((name) => now[name] !== seen[name])) return "its text has changed";
  if (["value", "suggestion", "verdict", "reason"].every((name) => before[name] === given[name])) return null;
  if (given.verdict) return `another person has decided: ${given.value}`;
  return before.verdict ? "another person has taken the verdict back" : "its guess has changed";
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
  state.questions = (await call("questions")).record.map(asQuestion);
  sessionStorage.setItem(KEY_PLACE, state.key);
  Object.assign(state, { steps: [], marks: new Map(), queue: [], place: 0, next: null });
  const { name, role, expires } = state.me;
  fill(at("me"), `${name} (${role}${expires ? `, until ${moment(expires)}` : ""})`);
  await openPage();
}

function signOut(sentence) {
  sessionStorage.removeItem(KEY_PLACE);
  Object.assign(state, { key: null, me: null });
  showParts();
  say(sentence);
  at("key").focus();
}

function showParts(page) {
  state.page = page;
  at("sign-in").hidden = Boolean(state.me);
  for (const part of all("[data-signed-in]")) part.hidden = !state.me;
  for (const part of all("[data-page]")) part.hidden = part.dataset.page !== page;
  for (const link of all("header a")) link.ariaCurrent = link.hash === `#${page}` ? "page" : null;
  for (const part of ["pane", "today", "queue"]) fill(at(part));
  say("");
}

async function openPage() {
  const [view, name] = location.hash.slice(1).split(/\/(.*)/s);
  const page = ["ticket", "today"].includes(view) ? view : "waiting";
  state.hash = location.hash;
  showParts(page);
  document.title = `${page} - triage`;
  if (page === "waiting") await openQueue();
  else if (page === "today") await showToday();
  else if (name) {
    at("name").value = decodeURIComponent(name);
    const found = await call(`tickets?${new URLSearchParams({ name: at("name").value })}`);
    await show(found.record[0].ticket_id);
  } else at("name").focus();
}

// --- the queue
function queuePath() {
  const asked = { limit: 50, status: "needs_review" };
  const search = at("filter").value.replace(/\b(priority|category):(?:"([^"]*)"|(\S+))/gi, (_, name, quoted, word) => {
    asked[name.toLowerCase() === "category" ? "suggestion" : "priority"] = quoted ?? word;
    return "";
  }).trim();
  const ordered = { review: { order: "review" }, urgent: { sort: "priority:desc" } }[at("order").value];
  Object.assign(asked, search && { search }, ordered);
  return `tickets?${new URLSearchParams(asked)}`;
}

async function openQueue() {
  Object.assign(state, { queue: [], place: 0, next: queuePath() });
  await Promise.all([countWaiting(), loadMore()]);
  await goTo(0);
}

async function countWaiting() {
  const { record: stats } = await call("stats");
  const count = stats.by_status.needs_review || 0;
  fill(at("count"), count === 1 ? "1 waits for a person" : `${count.toLocaleString()} wait for a person`);
}
// After a verdict, which is stored also where the count cannot be told.
const recount = () => countWaiting().catch(() => null);

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
  fill(at("queue"), state.queue.map((ticket, place) => made("li", {}, button(
    [cut(ticket.subject || ticket.description || "No text", 60), made("small", {}, markOf(ticket) || "no guess")],
    () => goTo(place), null, { "aria-current": place === state.place && "true" }))));
  at("more").hidden = !state.next;
}
const markOf = (ticket) => state.marks.get(ticket.ticket_id) || toldOf(answerTo(openOn(ticket) || CATEGORY, ticket));

async function goTo(place, question) {
  if (place >= state.queue.length) await loadMore();
  state.place = Math.max(0, Math.min(place, state.queue.length - 1));
  drawQueue();
  const { scrollHeight, clientHeight } = at("queue"); // where the page alone scrolls, it stays at the text
  if (scrollHeight > clientHeight) at("queue").children[state.place]?.scrollIntoView({ block: "nearest" });
  if (state.queue.length) await show(state.queue[state.place].ticket_id, question);
  else fill(at("pane"), made("p", {}, "No such ticket waits for a person."));
}

// Goes on to what is to be decided next: another question about the ticket, or else the next ticket of the queue.
async function goOn(after, question, mark, sentence) {
  const open = after && openOn(after);
  if (open || state.page !== "waiting") {
    await show(after.ticket_id, open || question);
    return say(sentence);
  }
  state.marks.set(state.shown.ticket.ticket_id, mark);
  let { place } = state;
  do {
    if (++place >= state.queue.length) await loadMore();
  } while (state.marks.has(state.queue[place]?.ticket_id));
  const isLast = place >= state.queue.length;
  await Promise.all([recount(), goTo(isLast ? state.place : place)]);
  return say(isLast ? `${sentence} That was the last one.` : sentence);
}

async function show(id, question) {
  const [{ record: ticket, etag }, why] = await Promise.all([call(`tickets/${id}`), call(`tickets/${id}/why`)]);
  if (!state.me) return; // signed out meanwhile
  const [pane, similar] = [at("pane"), made("div", {})];
  state.shown = { ticket, etag, rows: made("div", {}) };
  fill(pane, made("h2", { tabindex: -1 }, ticket.subject || "No subject"), factsOf(ticket), textOf(ticket),
    mayDecide() ? decisionOf(ticket) : made("p", {}, `Your role, ${state.me.role}, may read, and change nothing.`),
    made("h3", {}, "Why"), listed(why.record.why), listed(why.record.agent_suggestions.map((each) =>
      `${each.question === "category" ? "" : `${each.question}: `}${each.agent} suggests ${each.category}${
        each.note ? `: ${each.note}` : ""}`)),
    similar,
    made("details", { open: state.page === "ticket" }, made("summary", {}, "Deliveries and history"),
      made("h3", {}, "Deliveries"), listed(ticket.deliveries.map((each) =>
        `${each.destination}: ${each.state}, tried ${counted(each.tries.length, "time")}`)) || made("p", {}, "None."),
      made("h3", {}, "History"), listed(ticket.events.map((event) =>
        `${moment(event.timestamp)}: ${spaced(event.action)}, by ${event.actor}`), "ol")));
  ask(question || openOn(ticket));
  similarTo(ticket, "limit=2").then((found) => found.length && fill(similar, made("h3", {}, "Similar tickets"),
    listed(found.map((other) => [made("a", { href: `#ticket/${encodeURIComponent(other.ticket_id)}` },
      cut(other.subject || nameOf(other), 200)), other.category && `: ${other.category}`]))));
  pane.querySelector("h2").focus({ preventScroll: true });
  const { top } = pane.getBoundingClientRect();
  if (top < 0 || top > (matchMedia("(max-width: 760px)").matches ? 60 : innerHeight / 2)) pane.scrollIntoView();
}

// Finds similar tickets, which may take longer than all else and is no loss.
const similarTo = ({ ticket_id: id }, query) =>
  call(`tickets/${id}/similar?${query}`).then(({ record }) => record, () => []);

// What is said of the destinations of a ticket that not all of them have accepted.
const SENT = { routing: "On its way to", undeliverable: "Not accepted by all of" };

function factsOf(ticket) {
  const facts = [
    ["Ticket", ticket.external_id || ticket.ticket_id], ["From", ticket.source], ["Customer", ticket.customer_id],
    ["Priority", ticket.priority], ["Language", ticket.language],
    ["Written", ticket.created_at && moment(ticket.created_at)], ["Status", spaced(ticket.status)],
    ...state.questions.map((question) => [question.label, toldOf(answerTo(question, ticket))]),
    ["Reason", ticket.reason], [SENT[ticket.status] || "Sent to", ticket.routed_to], ["Error", ticket.error],
    ...Object.entries(ticket.extra),
  ].filter(([, fact]) => fact || fact === 0);
  return made("dl", { class: "facts" }, facts.map(([name, fact]) =>
    [made("dt", {}, name), made("dd", {}, typeof fact === "object" ? JSON.stringify(fact) : fact)]));
}

function textOf({ description: text }) {
  const part = (...range) => made("div", { class: "text" }, (text || "").slice(...range));
  const isLong = text?.length > LONGEST_TEXT;
  return [part(0, LONGEST_TEXT), isLong && made("details", {}, made("summary", {}, "The rest"), part(LONGEST_TEXT))];
}

// --- questions: the category, and further ones
// A ticket waits for a person where a question that `holds` it is open. `names` are the values, each behind the one
// whose level it is below.
function asQuestion({ name, required, values }) {
  const below = (parent) => values.filter((each) => each.parent === parent)
    .flatMap((each) => [each.name, ...below(each.name)]);
  const [label, holds] = name === CATEGORY.name ? ["Category", true] : [name, required];
  return { name, label, holds, names: below(), keyed: values.map((value) => value.name) };
}

const CATEGORY = { name: "category" };
const answerTo = ({ name }, ticket) =>
  (name === CATEGORY.name ? { ...ticket, value: ticket.category } : ticket.answers?.[name] || {});
const openOn = (ticket) => state.questions.find((question) => question.holds && !answerTo(question, ticket).value);

function toldOf({ value, verdict, suggestion, confidence, confidence_source: source }) {
  if (value || !suggestion) return verdict ? `${value}, by a person` : value;
  return `${suggestion}, a guess${confidence == null ? "" : `, ${Math.round(100 * confidence)} % sure (${source})`}`;
}

// Asks a question about the ticket that is shown: the keys are those of its values.
function ask(question = state.questions[0]) {
  state.asked = question;
  const { rows, ticket } = state.shown;
  fill(rows, state.questions.map((each) => rowOf(each, answerTo(each, ticket))),
    made("div", { class: question.names.length < 10 ? "line few" : "line" },
      fieldOf("by-name", "f", question.label, { oninput: narrow })));
  rows.querySelector("[data-asked]").focus();
}

function rowOf(question, { value, suggestion, verdict }) {
  const [isAsked, guess] = [question === state.asked, verdict ? null : suggestion || value];
  const likely = likelyOf(question, state.shown.ticket);
  const keys = keysOf(question.keyed, likely);
  return made("fieldset", { "data-asked": isAsked, tabindex: -1 }, made("legend", {}, question.label),
    made("div", { class: "choices" }, [...new Set([...likely, ...question.names])].map((name) => button(
      name === guess ? `${name} (the guess)` : name, () => give(question, name),
      isAsked ? [name === guess && "Enter", keys.get(name)].filter(Boolean).join(" ") : null,
      { "data-value": name, class: name === guess && "guess", "aria-current": name === value && "true" }))));
}

// The three best guesses about a ticket, the best first; none where each value has a digit.
function likelyOf({ name, names }, { classifications }) {
  const of = (each) => each.question || CATEGORY.name;
  const chances = classifications.findLast((each) => of(each) === name && each.probabilities)?.probabilities;
  if (names.length < 10 || !chances) return [];
  const guesses = names.filter((each) => Object.hasOwn(chances, each));
  return guesses.sort((one, other) => chances[other] - chances[one]).slice(0, 3);
}

const fieldOf = (id, key, label, more) => [made("label", { for: id }, shown(key), label),
  made("input", { id, "aria-keyshortcuts": key, autocomplete: "off", maxlength: 10000, onkeydown: leave, ...more })];

const decisionOf = (ticket) => [
  made("div", { class: "decide" }, state.shown.rows,
    made("div", { class: "choices" }, state.page === "waiting" && button("Skip", skip, "s"),
      state.steps.length > 0 && button(`Undo ${stepOf(state.steps.at(-1))}`, undo, "u"),
      state.questions.length > 1 && button("Next question",
        () => ask(state.questions[state.questions.indexOf(state.asked) + 1]), "."),
      ticket.category && button(ticket.routed_to ? "Send again" : "Route now", route, "r"))),
  made("div", { class: "line" }, fieldOf("note", "n", "Note")),
  state.steps.length > 1 && made("details", {}, made("summary", {}, "What undo takes back, the last first"),
    listed(state.steps.slice(-MOST_UNDONE).reverse().map(stepOf), "ol")),
];

// Names a verdict or a skip, with its ticket, or how many it was about.
function stepOf({ value, given }) {
  return `${value === null ? "skip" : value}: ${given.length === 1 ? nameOf(given[0].before) : counted(given.length, "ticket")}`;
}

// Shows the values that begin with what is typed; Enter gives the one that is left, or is typed whole.
function narrow() {
  const typed = at("by-name").value.trim().toLowerCase();
  const buttons = [...state.shown.rows.querySelectorAll("[data-asked] button")];
  for (const each of buttons) each.hidden = !each.dataset.value.toLowerCase().startsWith(typed);
  const left = buttons.filter((each) => !each.hidden);
  return left.find((each) => each.dataset.value.toLowerCase() === typed) || (left.length === 1 ? left[0] : null);
}

function leave(event) {
  if (!["Enter", "Escape"].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
  const found = event.target.id === "by-name" && event.key === "Enter" && narrow();
  if (found) found.click();
  else if (found === null) say(`No ${state.asked.label} begins so, or several do.`);
  else at("pane").querySelector("h2").focus();
}

async function give(question, value) {
  const { ticket, etag } = state.shown;
  const given = await judge(ticket, etag, question, value, at("note").value.trim() || null);
  if (given.change) {
    await show(ticket.ticket_id, question);
    return say(`Nothing was changed, since ${given.change}. Give it again to overrule that.`);
  }
  state.steps.push({ question, value, given: [given] });
  await goOn(given.after, question, `✓ ${value}`, `${nameOf(ticket)}: ${value}; u takes it back.`);
  offerAlike(ticket, question, value, at("said").textContent);
}

// Offers the same answer for what waits with nearly this text, unless something else is said by then.
async function offerAlike(ticket, question, value, said) {
  const found = await similarTo(ticket, "waiting=true&limit=500");
  const waiting = found.filter((each) => each.similarity >= NEARLY_SAME && each.status === "needs_review");
  if (!waiting.length || at("said").textContent !== said) return;
  at("said").append(" ", button(`${waiting.length} more with nearly this text`,
    () => giveAlike(question, value, waiting), "="));
}

// Gives what waits with nearly the text of the ticket before the same answer, as one step.
async function giveAlike(question, value, waiting) {
  const given = [];
  state.steps.push({ question, value, given });
  for (const ticket of waiting) {
    // No state of it was shown, so the server tells the present one, which must be as it was found.
    const other = await judge(ticket, '"found"', question, value, null);
    if (other.change) continue;
    given.push(other);
    state.marks.set(ticket.ticket_id, `✓ ${value}`);
  }
  drawQueue();
  await recount();
  say(`${given.length} more: ${value}; u takes them back.`);
}

async function skip() {
  const { ticket } = state.shown;
  state.steps.push({ question: state.asked, value: null, given: [{ before: ticket }] });
  const mark = state.marks.get(ticket.ticket_id) || "skipped";
  await goOn(null, null, mark, `${nameOf(ticket)}: skipped; u takes it back.`);
}

async function undo() {
  const { question, value, given } = state.steps.at(-1) || {};
  if (!given) return say("There is nothing to undo.");
  const kept = [];
  for (const { before, after, etag } of given) {
    const was = answerTo(question, before);
    const back = was.verdict ? [was.value, was.reason || ""] : [null, null];
    const { change } = after ? await judge(after, etag, question, ...back) : {};
    if (change) kept.push(`${nameOf(before)} stays as it is, since ${change}.`);
    state.marks.delete(before.ticket_id);
  }
  state.steps.pop();
  const { ticket_id: id } = given[0]?.before || state.shown.ticket;
  const place = state.queue.findIndex((ticket) => ticket.ticket_id === id);
  await Promise.all([recount(),
    state.page === "waiting" && place >= 0 ? goTo(place, question) : show(id, question)]);
  say(kept.join(" ") || (value === null ? "Back." : `Taken back: ${value}.`));
}

async function route() {
  const { ticket } = state.shown;
  const again = Boolean(ticket.routed_to);
  if (again && !confirm(`Send ${nameOf(ticket)} to ${ticket.routed_to} again?`)) return;
  const { record } = await send(`tickets/${ticket.ticket_id}/route`, { again, retry_dead: true });
  await show(ticket.ticket_id);
  say(`${nameOf(ticket)}: ${record.problem?.detail || `${spaced(record.status)} ${record.routed_to || ""}`}`);
}

async function showToday() {
  const since = new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
  const ofToday = (path, more) => call(`${path}?${new URLSearchParams({ since, ...more })}`);
  const mine = { actor: state.me.name, action: "verdict", after: 0, limit: 1000 };
  const [stats, groups, overruled, given] = (await Promise.all([
    call("stats"), ofToday("stats/groups", { by: "category" }), ofToday("stats/overruled"), ofToday("logs", mine),
  ])).map((answer) => answer.record);
  const sum = (name) => groups.reduce((total, group) => total + group[name], 0);
  fill(at("today"), made("h2", {}, "Today"),
    made("p", {}, `${counted(sum("tickets"), "ticket")} came since midnight; ${sum("needs_review").toLocaleString()} `
      + `of them wait for a person; in all, ${(stats.by_status.needs_review || 0).toLocaleString()} wait.`),
    made("p", {}, `You gave or took back ${
      given.length < mine.limit ? counted(given.length, "verdict") : "1,000 or more verdicts"}.`),
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

// Each value has one key, which its button shows: digits for the first nine, of which the likely ones come first, and
// for each other one the first free letter of its name.
function keysOf(names, likely) {
  const digits = [...new Set([...likely, ...names])].slice(0, 9);
  const [used, letters] = [new Set("sunfor"), "abcdefghijklmnopqrstuvwxyz"];
  return new Map(names.map((name) => {
    if (digits.includes(name)) return [name, String(digits.indexOf(name) + 1)];
    const own = name.toLowerCase().replace(/[^a-z]/g, "");
    const free = [...own, ...own.toUpperCase(), ...letters, ...letters.toUpperCase()].find((each) => !used.has(each));
    used.add(free);
    return [name, free || ""];
  }));
}

const toPlace = (place) => state.page === "waiting" && goTo(Math.max(0, place));
const MOVING = {
  o: () => {
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
  if (isWord(key, event.timeStamp)) return say("Nothing was done, since this looks like a word: / finds tickets by it.");
  const its = all("[aria-keyshortcuts]").find((each) => each.ariaKeyShortcuts.split(" ").includes(key));
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
  else say(mayDecide() ? `There is nothing here that ${key} does.` : "There is no ticket here that you may decide.");
}

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
on("find", "change", () => doing(openQueue));
on("more", "click", () => doing(loadMore));
on("sign-out", "click", () => signOut("Signed out."));
on("show-help", "click", () => at("help").showModal());
addEventListener("hashchange", () => state.me && doing(openPage));
addEventListener("keydown", press);
addEventListener("beforeunload", (event) => state.busy && event.preventDefault());
showParts();
if (state.key) doing(signIn);
else at("key").focus();
