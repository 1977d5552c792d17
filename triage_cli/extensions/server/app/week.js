// What happened in a period, for whoever signs for it, and what the verdicts can teach.
import { all, at, button, call, counted, fill, known, made, midnight, moment, percent, say, send, state, table,
  tr } from "./base.js";

const PERIODS = () => [[0, tr("since midnight")], [6, tr("7 days")], [29, tr("30 days")]];

export async function showWeek(days = 6) {
  const since = midnight(days).toISOString();
  say(tr("Counting."));
  const mine = new URLSearchParams({ since, actor: state.me.name, action: "verdict", after: 0, limit: 1000 });
  const [report, stats, given] = (await Promise.all([
    call(`report?${new URLSearchParams({ since })}`), call("stats"), call(`logs?${mine}`),
  ])).map((answer) => answer.record);
  say("");
  fill(at("week"), made("h2", { tabindex: -1 }, tr("Since {0}", moment(report.since))),
    made("div", { class: "choices" }, PERIODS().map(([each, label]) => button(label, () => showWeek(each), null,
      { "aria-pressed": String(each === days) })), button(tr("Print"), () => print())),
    figuresOf(report, stats, given.length < 1000 ? given.length : tr("1,000 or more")),
    teaching(stats),
    table(tr("By category"), [tr("Category"), tr("Tickets"), tr("by a person"), tr("Waiting")],
      categoriesOf(report.decided, days)),
    table(tr("Sure answers that people overruled"), [tr("The machine's category"), tr("Judged"), tr("Overruled")],
      report.overruled.map((each) => [each.name, each.n, each.held])),
    table(tr("What waits for a person, by day"), [tr("Stored"), tr("Tickets")],
      waitingOf(report.waiting.filter((group) => group.status === "needs_review"))),
    table(tr("Deliveries of all days"), [tr("Destination"), known("accepted"), known("pending"), known("dead")],
      Object.entries(report.deliveries).map(([name, of]) => [name, of.accepted || 0, of.pending || 0, of.dead || 0])),
    table(tr("What comes more often than before"), [tr("Words"), tr("Tickets")],
      report.spikes.map((spike) => [spike.name, spike.tickets])),
    table(tr("What has changed"), [tr("What"), tr("now"), tr("before")], report.drift.filter((each) => each.moved)
      .map((each) => [`${known(each.measure)} ${each.name}`, shareOf(each.share), shareOf(each.share_before)])),
    report.promises.length > 0 && table(tr("Promises"), [tr("Classifier"), tr("Wrong at most"), tr("Proven"),
      tr("Overruled in this period")], report.promises.map((each) => [[each.classifier, each.category].filter(Boolean)
        .join(" "), percent(each.max_error), each.threshold == null
        ? counted(each.missing, "{0} label is missing", "{0} labels are missing") : tr("yes"), rangeOf(each.judged)])));
}

const shareOf = (share) => (share == null ? tr("unknown") : percent(share));
const rangeOf = ({ n, share, low, high }) => (n
  ? tr("{0} of {1} (between {2} and {3})", percent(share), n.toLocaleString(), percent(low), percent(high))
  : tr("unknown: nobody judged any"));
const sum = (groups, name) => groups.reduce((total, group) => total + group[name], 0);

function figuresOf(report, stats, given) {
  const judged = report.overruled.reduce(({ n, held }, each) => ({ n: n + each.n, held: held + each.held }),
    { n: 0, held: 0 });
  const figures = [
    [tr("Tickets that came"), sum(report.volumes, "tickets").toLocaleString()],
    [tr("Sure without a person"), rangeOf(report.sure)],
    [tr("Of these overruled"), judged.n ? tr("{0} of {1} that people judged", judged.held.toLocaleString(),
      judged.n.toLocaleString()) : tr("unknown: nobody judged any")],
    ...report.right.map((each) => [tr("Right, of all answers of {0} that people judged", each.name), rangeOf(each)]),
    [tr("Waiting now"), (stats.by_status.needs_review || 0).toLocaleString()],
    [tr("Your verdicts"), given.toLocaleString()],
    [tr("Spent"), `${sum(report.volumes, "cost_usd").toFixed(2)} USD`],
  ];
  return made("dl", { class: "facts" }, figures.map(([name, figure]) => [made("dt", {}, name), made("dd", {}, figure)]));
}

// A row a category, with those that people decided; a category leads to its tickets.
function categoriesOf(decided, days) {
  const names = [...new Set(decided.map((group) => group.category))];
  const came = { 0: "today", 6: "week", 29: "month" }[days];
  return names.map((category) => {
    const groups = decided.filter((group) => group.category === category);
    const query = new URLSearchParams({ category: category || "", came });
    return [category ? made("a", { href: `#tickets?${query}` }, category) : tr("none yet"), sum(groups, "tickets"),
      sum(groups.filter((group) => group.classifier === "verdict"), "tickets"), sum(groups, "needs_review")];
  });
}

function waitingOf(waiting) {
  const days = [...new Set(waiting.map((group) => group.day))].sort();
  return days.map((day) => [new Date(`${day}T12:00`).toLocaleDateString([], { dateStyle: "medium" }),
    sum(waiting.filter((group) => group.day === day), "tickets")]);
}

// --- teaching
const teaching = ({ by_classifier: by }) => [made("h3", {}, tr("Teach")),
  made("p", {}, counted(by.verdict || 0, "{0} ticket has a person's verdict.", "{0} tickets have a person's verdict.")),
  state.me.role === "admin" ? made("div", { class: "choices" }, button(tr("Learn from verdicts"), learn))
    : made("p", {}, tr("Someone with the role admin can let the model learn from them here."))];

async function learn() {
  say(tr("Learning; this may take a minute or two."));
  for (const each of all("#week button")) each.disabled = true;
  try {
    const { record } = await send("operations/learn", { rows: [] });
    const { report } = record.result[0];
    say(made("span", { lang: "en" }, `${report.reason}.`), " ", forecastOf(report.forecast));
  } finally {
    for (const each of all("#week button")) each.disabled = false;
  }
}

function forecastOf(forecast) {
  if (!forecast) return null;
  const { now, low, high, labels } = forecast;
  return low == null ? tr("Sure now: {0}. It is too early to tell what {1} more verdicts would change.", percent(now), labels)
    : tr("Sure now: {0}; with {1} more verdicts {2} to {3}.", percent(now), labels, percent(low), percent(high));
}
