// Questions about tickets, the answers to them, and verdicts, which are never given on a state that nobody saw.
import { call, counted, cut, made, percent, send, state, tr } from "./base.js";

export const CATEGORY = { name: "category" };
export const nameOf = (ticket) => cut(ticket.external_id || ticket.ticket_id.slice(-8), 40);
export const mayDecide = () => ["agent", "admin"].includes(state.me.role);
export const titleOf = (ticket) => cut(ticket.subject || ticket.description || tr("No text"), 100);
export const linkTo = (ticket) => made("a", { href: `#ticket/${encodeURIComponent(ticket.ticket_id)}` }, titleOf(ticket));

// A ticket waits for a person where a question that `holds` it is open. `names` are the values, each behind the one
// whose level it is below.
export function asQuestion({ name, required, values }) {
  const below = (parent) => values.filter((each) => each.parent === parent)
    .flatMap((each) => [each.name, ...below(each.name)]);
  const [label, holds] = name === CATEGORY.name ? [tr("Category"), true] : [name, required];
  return { name, label, holds, names: below(), keyed: values.map((value) => value.name) };
}

export const answerTo = ({ name }, ticket) =>
  (name === CATEGORY.name ? { ...ticket, value: ticket.category } : ticket.answers?.[name] || {});
export const openOn = (ticket) =>
  state.questions.find((question) => question.holds && !answerTo(question, ticket).value);

export function toldOf({ value, verdict, suggestion, confidence, confidence_source: source }) {
  if (value || !suggestion) return verdict ? tr("{0}, by a person", value) : value;
  return confidence == null ? tr("{0}, a guess", suggestion)
    : tr("{0}, a guess, {1} sure ({2})", suggestion, percent(confidence), source);
}

// Gives a verdict on what was seen; if another person has changed that, nothing is given, and `change` tells it.
export async function judge(before, etag, question, value, note) {
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
  if (["subject", "description"].some((name) => now[name] !== seen[name])) return tr("its text has changed");
  if (["value", "suggestion", "verdict", "reason"].every((name) => before[name] === given[name])) return null;
  if (given.verdict) return tr("another person has decided: {0}", given.value);
  return before.verdict ? tr("another person has taken the verdict back") : tr("its guess has changed");
}

// Gives tickets of a list the same answer, as one step of undo; returns those that it was given to.
export async function judgeEach(question, value, tickets) {
  const given = [];
  state.steps.push({ question, value, given });
  for (const ticket of tickets) {
    // No state of it was shown, so the server tells the present one, which must be as it was found.
    const other = await judge(ticket, '"found"', question, value, null);
    if (!other.change) given.push(other);
  }
  if (!given.length) state.steps.pop();
  return given;
}

// Takes the last step back; returns it, with sentences about what others have changed since and what stays therefore.
export async function takeBack() {
  const step = state.steps.at(-1);
  const kept = [];
  for (const { before, after, etag } of step.given) {
    const was = answerTo(step.question, before);
    const back = was.verdict ? [was.value, was.reason || ""] : [null, null];
    const { change } = after ? await judge(after, etag, step.question, ...back) : {};
    if (change) kept.push(tr("{0} stays as it is, since {1}.", nameOf(before), change));
    state.marks.delete(before.ticket_id);
  }
  state.steps.pop();
  return { ...step, kept };
}

// Names a verdict or a skip, with its ticket, or how many it was about.
export function stepOf({ value, given }) {
  const what = value === null ? tr("skip") : value;
  return `${what}: ${given.length === 1 ? nameOf(given[0].before) : counted(given.length, "{0} ticket", "{0} tickets")}`;
}
