// All tickets, newest first: search by words and menus, counts of what is found, one category for many.
import { at, button, call, counted, fill, known, made, midnight, moment, nextPage, say, state, tr } from "./base.js";
import { present, statusOf, undoButton } from "./deciding.js";
import { CATEGORY, answerTo, judgeEach, linkTo, mayDecide, toldOf } from "./verdicts.js";

// What may be written among the words as `name:value`; `answer` takes question=value, `extra` column=value.
const CONDITIONS = {
  status: "status", category: "category", guess: "suggestion", customer: "customer_id", language: "language",
  priority: "priority", source: "source", destination: "destination", classifier: "classifier", answer: "answer",
  extra: "extra",
};
const CONDITION = new RegExp(`(?<!\\S)(${Object.keys(CONDITIONS).join("|")}):(?:"([^"]*)"|(\\S+))`, "gi");
const STATUSES = ["new", "waiting", "classified", "needs_review", "failed", "routing", "routed", "unroutable",
  "undeliverable"];
const PERIODS = { today: [0], yesterday: [1, 0], week: [6], month: [29] }; // from and to so many midnights ago

// Sets up the menus for the categories of this server.
export function setUpSearch() {
  const options = (name, values) => fill(at("search").elements[name], made("option", { value: "" }, tr("all")),
    values.map(([value, label]) => made("option", { value }, label)));
  options("status", STATUSES.map((status) => [status, statusOf({ status })]));
  options("category", state.questions[0].names.map((name) => [name, name]));
  options("priority", ["urgent", "high", "normal", "low"].map((name) => [name, known(name)]));
  options("by", [["true", tr("a person")], ["false", tr("no person")]]);
  options("came", [["today", tr("today")], ["yesterday", tr("yesterday")], ["week", tr("in 7 days")],
    ["month", tr("in 30 days")]]);
}

// The search stands in the address, so that it can be kept and given to others.
export const searchAddress = () =>
  `#tickets?${new URLSearchParams([...new FormData(at("search"))].filter(([, value]) => value.trim()))}`;

function conditions({ words = "", by, came, ...menus }) {
  const asked = Object.entries(menus).filter(([name]) => CONDITIONS[name]).map(([name, it]) => [CONDITIONS[name], it]);
  const search = words.replace(CONDITION, (_, name, quoted, word) => {
    asked.push([CONDITIONS[name.toLowerCase()], quoted ?? word]);
    return "";
  }).replace(/\s+/g, " ").trim();
  if (search) asked.push(["search", search]);
  if (by) asked.push(["verdict", by]);
  const [from, to] = PERIODS[came] || [];
  if (from != null) asked.push(["since", midnight(from).toISOString()]);
  if (to != null) asked.push(["until", new Date(midnight(to) - 1).toISOString()]);
  return asked;
}

export async function showTickets(query) {
  const chosen = Object.fromEntries(new URLSearchParams(query));
  for (const field of at("search").elements) if (field.name) field.value = chosen[field.name] || "";
  state.conditions = conditions(chosen);
  state.found = [];
  state.nextFound = `tickets?${new URLSearchParams([...state.conditions, ["limit", 50]])}`;
  fill(at("found"));
  drawBulk();
  await Promise.all([moreFound(), countFound()]);
}

async function countFound() {
  const { record } = await call(`stats/groups?${new URLSearchParams([...state.conditions, ["by", "status"]])}`);
  const sum = (name) => record.reduce((total, group) => total + group[name], 0);
  fill(at("sum"), counted(sum("tickets"), "{0} ticket", "{0} tickets"), ": ",
    record.map((group) => `${group.tickets.toLocaleString()} ${statusOf(group)}`).join(", ") || tr("none"));
}

export async function moreFound() {
  const { record, link } = await call(state.nextFound);
  state.found.push(...record);
  state.nextFound = nextPage(link);
  at("found").append(...record.map(rowOf));
  at("more-found").hidden = !state.nextFound;
}

const rowOf = (ticket) => made("li", {},
  mayDecide() && made("input", { type: "checkbox", onchange: drawBulk, "aria-label": tr("Choose {0}", ticket.subject
    || ticket.ticket_id) }),
  made("div", {}, linkTo(ticket), made("small", {}, standing(ticket))));
const standing = (ticket) => [toldOf(answerTo(CATEGORY, ticket)), statusOf(ticket),
  ticket.routed_to && `→ ${ticket.routed_to}`, moment(ticket.stored_at)].filter(Boolean).join(" · ");

const boxes = () => [...at("found").querySelectorAll("input")];
const chosenTickets = () => boxes().flatMap((box, place) => (box.checked ? [state.found[place]] : []));

// What can be done with the chosen tickets.
function drawBulk() {
  const count = chosenTickets().length;
  fill(at("bulk"), mayDecide() && [
    button(tr("Choose all that are shown"), () => {
      for (const box of boxes()) box.checked = true;
      drawBulk();
    }),
    count > 0 && [
      made("label", { for: "bulk-value" }, counted(count, "{0} ticket chosen:", "{0} tickets chosen:")),
      made("select", { id: "bulk-value" }, state.questions[0].names.map((name) => made("option", {}, name))),
      button(tr("Give this category"), giveChosen, null, { class: "main" }),
    ],
    undoButton(),
  ]);
}

async function giveChosen() {
  const [tickets, value] = [chosenTickets(), at("bulk-value").value];
  const many = counted(tickets.length, "{0} ticket", "{0} tickets");
  if (!confirm(tr("Give {0} the category {1}?", many, value))) return;
  const given = await judgeEach(state.questions[0], value, tickets);
  await state.openPage();
  const others = tickets.length - given.length;
  say(tr("{0}: {1}; u takes them back.", counted(given.length, "{0} ticket", "{0} tickets"), value), others > 0 && " ",
    others > 0 && counted(others, "{0} stays, since another person has changed it.",
      "{0} stay, since another person has changed them."));
}

// Shows of the tickets in view what has become of them meanwhile, each at its place, and the present counts.
export async function refreshTickets() {
  const rows = [...at("found").children];
  for (const [place, ticket] of await present(state.found, rows)) {
    // What was chosen is judged as it was seen then.
    if (rows[place].querySelector(":checked")) continue;
    state.found[place] = ticket;
    fill(rows[place].querySelector("small"), standing(ticket));
  }
  await countFound();
}
