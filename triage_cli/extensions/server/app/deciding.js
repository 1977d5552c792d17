// One ticket, on which a person decides, and the queue of those that wait.
import { at, button, call, counted, cut, fill, known, listed, made, moment, nextPage, say, send, shown,
  state, tr } from "./base.js";
import { CATEGORY, answerTo, judge, judgeEach, linkTo, mayDecide, nameOf, openOn, stepOf, takeBack, titleOf,
  toldOf } from "./verdicts.js";

const LONGEST_TEXT = 20000; // characters that are shown at once
const LONGEST_ASKED = 1000; // characters of a value by which tickets can be found
const MOST_UNDONE = 10; // verdicts and skips that undo names
const NEARLY_SAME = 0.9; // the similarity from which on two tickets wait for the same answer

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

export async function openQueue() {
  Object.assign(state, { queue: [], place: 0, next: queuePath() });
  await Promise.all([countWaiting(), loadMore()]);
  await goTo(0);
}

async function countWaiting() {
  const { record: stats } = await call("stats");
  fill(at("count"), counted(stats.by_status.needs_review || 0, "{0} waits for a person", "{0} wait for a person"));
}
// After a verdict, which is stored also where the count cannot be told.
const recount = () => countWaiting().catch(() => null);

// Loads the next page. What was decided meanwhile lets others move up, so tickets may come again: they are left out.
export async function loadMore() {
  for (let before = state.queue.length; state.next && state.queue.length === before;) {
    const { record, link } = await call(state.next);
    const seen = new Set(state.queue.map((ticket) => ticket.ticket_id));
    state.queue.push(...record.filter((ticket) => !seen.has(ticket.ticket_id)));
    state.next = nextPage(link);
  }
  drawQueue();
}

function drawQueue() {
  fill(at("queue"), state.queue.map((ticket, place) => made("li", {}, button(
    [cut(titleOf(ticket), 60), made("small", {}, markOf(ticket))],
    () => goTo(place), null, { "aria-current": place === state.place && "true" }))));
  at("more").hidden = !state.next;
}
const markOf = (ticket) => state.marks.get(ticket.ticket_id)
  || toldOf(answerTo(openOn(ticket) || CATEGORY, ticket)) || tr("no guess");

// Shows of the tickets in view what others have decided meanwhile, each at its place.
export async function refreshQueue() {
  const rows = [...at("queue").children];
  const now = await present(state.queue, rows);
  for (const [place, ticket] of now) {
    state.queue[place] = ticket;
    fill(rows[place].querySelector("small"), markOf(ticket));
  }
  await countWaiting();
}

// Returns the present state of those tickets of a list whose rows are in view, with their places.
export async function present(tickets, rows) {
  const isSeen = ({ top, bottom }) => bottom > 0 && top < innerHeight;
  const asked = tickets.filter((_, place) => rows[place] && isSeen(rows[place].getBoundingClientRect())).slice(0, 100);
  if (!asked.length) return [];
  const { record } = await call(`tickets?${new URLSearchParams(asked.map((ticket) => ["id", ticket.ticket_id]))}`);
  if (!rows[0].isConnected) return []; // another list is shown meanwhile
  return record.map((ticket) => [tickets.findIndex((each) => each.ticket_id === ticket.ticket_id), ticket])
    .filter(([place]) => place >= 0);
}

export async function goTo(place, question) {
  if (place >= state.queue.length) await loadMore();
  state.place = Math.max(0, Math.min(place, state.queue.length - 1));
  drawQueue();
  const { scrollHeight, clientHeight } = at("queue"); // where the page alone scrolls, it stays at the text
  if (scrollHeight > clientHeight) at("queue").children[state.place]?.scrollIntoView({ block: "nearest" });
  if (state.queue.length) await show(state.queue[state.place].ticket_id, question);
  else fill(at("pane"), made("p", {}, tr("No such ticket waits for a person.")));
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
  return say(isLast ? `${sentence} ${tr("That was the last one.")}` : sentence);
}

// --- one ticket
export async function show(id, question) {
  const [{ record: ticket, etag }, why] = await Promise.all([call(`tickets/${id}`), call(`tickets/${id}/why`)]);
  if (!state.me) return; // signed out meanwhile
  const pane = at("pane");
  const [similar, earlier] = [made("div", {}), made("div", {})];
  state.shown = { ticket, etag, rows: made("div", {}) };
  fill(pane, made("h2", { tabindex: -1 }, ticket.subject || tr("No subject")), factsOf(ticket), textOf(ticket),
    mayDecide() ? decisionOf(ticket) : made("p", {}, tr("Your role, {0}, may read, and change nothing.", state.me.role)),
    made("h3", {}, tr("Why")), listed(why.record.why, "ul", { lang: "en" }), listed(why.record.agent_suggestions.map(
      (each) => `${each.question === CATEGORY.name ? "" : `${each.question}: `}${
        tr("{0} suggests {1}", each.agent, each.category)}${each.note ? `: ${each.note}` : ""}`)),
    similar, earlier, historyOf(ticket));
  ask(question || openOn(ticket));
  similarTo(ticket, "limit=2").then((found) => fillOthers(similar, tr("Similar tickets"), found));
  ofCustomer(ticket).then((found) => fillOthers(earlier, tr("Of the same customer"), found));
  pane.querySelector("h2").focus({ preventScroll: true });
  const { top } = pane.getBoundingClientRect();
  if (top < 0 || top > (matchMedia("(max-width: 760px)").matches ? 60 : innerHeight / 2)) pane.scrollIntoView();
}

// Find other tickets, which may take longer than all else and is no loss.
const similarTo = ({ ticket_id: id }, query) =>
  call(`tickets/${id}/similar?${query}`).then(({ record }) => record, () => []);
const ofCustomer = async ({ ticket_id: id, customer_id: customer }) => (customer && customer.length <= LONGEST_ASKED
  ? call(`tickets?${new URLSearchParams({ customer_id: customer, limit: 6 })}`).then(
    ({ record }) => record.filter((ticket) => ticket.ticket_id !== id).slice(0, 5), () => []) : []);
const fillOthers = (place, title, tickets) => tickets.length && fill(place, made("h3", {}, title),
  listed(tickets.map((other) => [linkTo(other), other.category && `: ${other.category}`])));

const historyOf = (ticket) => made("details", { open: state.page === "ticket" },
  made("summary", {}, tr("Deliveries and history")),
  made("h3", {}, tr("Deliveries")), listed(ticket.deliveries.map((each) =>
    `${each.destination}: ${known(each.state)}, ${counted(each.tries.length, "tried {0} time", "tried {0} times")}`))
    || made("p", {}, tr("None.")),
  made("h3", {}, tr("History")), listed(ticket.events.map((event) =>
    tr("{0}: {1}, by {2}", moment(event.timestamp), known(event.action.replaceAll("_", " ")), event.actor)), "ol"));

// What is said of the destinations of a ticket that not all of them have accepted.
const sentOf = ({ status }) => ({ routing: tr("On its way to"), undeliverable: tr("Not accepted by all of") }[status]
  || tr("Sent to"));
export const statusOf = ({ status }) => known(status.replaceAll("_", " "));

function factsOf(ticket) {
  const facts = [
    [tr("Ticket"), ticket.external_id || ticket.ticket_id], [tr("From"), ticket.source],
    [tr("Customer"), ticket.customer_id], [tr("Priority"), ticket.priority && known(ticket.priority)],
    [tr("Language"), ticket.language], [tr("Written"), ticket.created_at && moment(ticket.created_at)],
    [tr("Status"), statusOf(ticket)],
    ...state.questions.map((question) => [question.label, toldOf(answerTo(question, ticket))]),
    [tr("Reason"), ticket.reason], [sentOf(ticket), ticket.routed_to], [tr("Error"), ticket.error],
    ...Object.entries(ticket.extra),
  ].filter(([, fact]) => fact || fact === 0);
  return made("dl", { class: "facts" }, facts.map(([name, fact]) =>
    [made("dt", {}, name), made("dd", {}, typeof fact === "object" ? JSON.stringify(fact) : linked(fact))]));
}

// An address, such as the ticket's in its helpdesk, is a link that shows where it leads.
const linked = (fact) => (/^https:\/\/[!-~]+$/.test(fact)
  ? made("a", { href: fact, target: "_blank", rel: "noopener noreferrer" }, fact) : fact);

function textOf({ description: text }) {
  const part = (...range) => made("div", { class: "text" }, (text || "").slice(...range));
  const isLong = text?.length > LONGEST_TEXT;
  return [part(0, LONGEST_TEXT),
    isLong && made("details", {}, made("summary", {}, tr("The rest")), part(LONGEST_TEXT))];
}

// --- its questions: the category, and further ones
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
      name === guess ? tr("{0} (the guess)", name) : name, () => give(question, name),
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

const fieldOf = (id, key, label, more) => [made("label", { for: id }, shown(key), label),
  made("input", { id, "aria-keyshortcuts": key, autocomplete: "off", maxlength: 10000, onkeydown: leave, ...more })];

const decisionOf = (ticket) => [
  made("div", { class: "decide" }, state.shown.rows,
    made("div", { class: "choices" }, state.page === "waiting" && button(tr("Skip"), skip, "s"), undoButton(),
      state.questions.length > 1 && button(tr("Next question"),
        () => ask(state.questions[state.questions.indexOf(state.asked) + 1]), "."),
      ticket.category && button(ticket.routed_to ? tr("Send again") : tr("Route now"), route, "r"))),
  made("div", { class: "line" }, fieldOf("note", "n", tr("Note"))),
  state.steps.length > 1 && made("details", {}, made("summary", {}, tr("What undo takes back, the last first")),
    listed(state.steps.slice(-MOST_UNDONE).reverse().map(stepOf), "ol")),
];
export const undoButton = () => state.steps.length > 0
  && button(tr("Undo {0}", stepOf(state.steps.at(-1))), undo, "u");

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
  else if (found === null) say(tr("No value of {0} begins so, or several do.", state.asked.label));
  else at("pane").querySelector("h2").focus();
}

// --- verdicts
async function give(question, value) {
  const { ticket, etag } = state.shown;
  const given = await judge(ticket, etag, question, value, at("note").value.trim() || null);
  if (given.change) {
    await show(ticket.ticket_id, question);
    return say(tr("Nothing was changed, since {0}. Give it again to overrule that.", given.change));
  }
  state.steps.push({ question, value, given: [given] });
  await goOn(given.after, question, `✓ ${value}`, tr("{0}: {1}; u takes it back.", nameOf(ticket), value));
  offerAlike(ticket, question, value, at("said").textContent);
}

// Offers the same answer for what waits with nearly this text, unless something else is said by then.
async function offerAlike(ticket, question, value, said) {
  const found = await similarTo(ticket, "waiting=true&limit=500");
  const waiting = found.filter((each) => each.similarity >= NEARLY_SAME && each.status === "needs_review");
  if (!waiting.length || at("said").textContent !== said) return;
  at("said").append(" ", button(counted(waiting.length, "{0} more with nearly this text", "{0} more with nearly this text"),
    () => giveAlike(question, value, waiting), "="));
}

async function giveAlike(question, value, waiting) {
  const given = await judgeEach(question, value, waiting);
  for (const { before } of given) state.marks.set(before.ticket_id, `✓ ${value}`);
  drawQueue();
  await recount();
  say(tr("{0} more: {1}; u takes them back.", given.length, value));
}

async function skip() {
  const { ticket } = state.shown;
  state.steps.push({ question: state.asked, value: null, given: [{ before: ticket }] });
  const mark = state.marks.get(ticket.ticket_id) || tr("skipped");
  await goOn(null, null, mark, tr("{0}: skipped; u takes it back.", nameOf(ticket)));
}

async function undo() {
  if (!state.steps.length) return say(tr("There is nothing to undo."));
  const { question, value, given, kept } = await takeBack();
  const { ticket_id: id } = given[0].before;
  const place = state.queue.findIndex((ticket) => ticket.ticket_id === id);
  if (state.page === "tickets") await state.openPage();
  else await Promise.all([recount(),
    state.page === "waiting" && place >= 0 ? goTo(place, question) : show(id, question)]);
  return say(kept.join(" ") || (value === null ? tr("Back.") : tr("Taken back: {0}.", value)));
}

async function route() {
  const { ticket } = state.shown;
  const again = Boolean(ticket.routed_to);
  if (again && !confirm(tr("Send {0} to {1} again?", nameOf(ticket), ticket.routed_to))) return;
  const { record } = await send(`tickets/${ticket.ticket_id}/route`, { again, retry_dead: true });
  await show(ticket.ticket_id);
  say(`${nameOf(ticket)}: ${record.problem?.detail || `${statusOf(record)} ${record.routed_to || ""}`}`);
}
