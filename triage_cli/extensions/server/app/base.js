// What all pages use: elements that are made of texts, the reader's language, requests to the server.
// `made` is the only place that makes elements, and each text becomes a text node.
import { TEXTS } from "./texts.js";

// Control characters and changes of direction, by which a text could look like another one.
const HIDDEN = /[\p{Cc}\p{Bidi_Control}]/gu;
export const state = { me: null, busy: false, key: null };

// --- the reader's language
const LANGUAGES = ["de", "fr"]; // in the order of `TEXTS`
const preferred = navigator.languages.map((name) => name.slice(0, 2));
export const language = preferred.find((name) => name === "en" || LANGUAGES.includes(name)) || "en";
const column = LANGUAGES.indexOf(language);
const inserted = (text, values) => text.replace(/\{(\d)\}/g, (_, place) => values[place]);

export function tr(text, ...values) {
  if (!Object.hasOwn(TEXTS, text)) console.warn(`no text in other languages: ${text}`);
  return inserted(known(text), values);
}

// The same for names that the server may have added since, such as a status: those stay as they are.
export const known = (name) => (Object.hasOwn(TEXTS, name) && TEXTS[name][column]) || name;
export const counted = (count, one, many) => tr(count === 1 ? one : many, count.toLocaleString());
export const moment = (text) => new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
// The midnight so many days ago, where the reader is.
export function midnight(days) {
  const day = new Date(new Date().setHours(0, 0, 0, 0));
  day.setDate(day.getDate() - days);
  return day;
}
export const percent = (share) => `${Math.round(100 * share)} %`;

// --- elements
export const at = (id) => document.getElementById(id);
export const all = (selector) => [...document.querySelectorAll(selector)];
export const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

export function made(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  return fill(element, children);
}

export function fill(element, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child != null && child !== false);
  element.replaceChildren(...wanted.map((child) => (child instanceof Node ? child : visible(String(child)))));
  return element;
}

const visible = (text) => text.replace(HIDDEN, (it) =>
  "\n\r\t".includes(it) ? it : `\\u${it.charCodeAt().toString(16).padStart(4, "0")}`);
export const shown = (keys) => keys && keys.split(" ").map((key) => [made("kbd", {}, key), " "]);
export const button = (label, work, keys, more) => made("button",
  { type: "button", onclick: () => doing(work), "aria-keyshortcuts": keys, ...more }, shown(keys), label);
export const say = (...what) => fill(at("said"), what);
export const listed = (items, tag = "ul", more = {}) =>
  (items.length ? made(tag, more, items.map((item) => made("li", {}, item))) : null);

export function table(title, names, rows) {
  return [made("h3", {}, title), rows.length ? made("div", { class: "wide" }, made("table", {},
    made("thead", {}, made("tr", {}, names.map((name) => made("th", { scope: "col" }, name)))),
    made("tbody", {}, rows.map((row) => made("tr", {}, row.map((cell) =>
      made("td", {}, typeof cell === "number" ? cell.toLocaleString() : cell))))),
  )) : made("p", {}, tr("None."))];
}

// --- requests
export class Problem extends Error {}
const problemOf = (sentence, more) => Object.assign(new Problem(sentence), more);

// What people without a terminal can do about a problem; what is not here says it itself.
const ADVICE = {
  unauthenticated: () => tr("The server does not know this key. Ask whoever gave it to you for a new one."),
  not_found: () => tr("There is no such ticket."),
  ambiguous: () => tr("Several tickets have this name. Give more of its id."),
  forgotten: () => tr("This ticket was erased, and cannot be shown."),
  unavailable: () => tr("The server cannot do this at present. Try it again in some minutes."),
};

export async function call(path, body, more) {
  const headers = { Authorization: `Bearer ${state.key}`, "Content-Type": "application/json", ...more };
  const sent = body ? { headers, method: "POST", body: JSON.stringify(body) } : { headers };
  const response = await fetch(path, sent).catch(() => null);
  const record = await response?.json().catch(() => (response.ok ? null : {}));
  if (!record) throw problemOf(tr("The server cannot be reached."), { status: 0 });
  const [etag, link, wait] = ["ETag", "Link", "Retry-After"].map((name) => response.headers.get(name));
  if (response.ok) return { record, etag, link };
  const { status } = response;
  const detail = record.detail || tr("the server answered {0}", status);
  const hint = record.code === "refused" && record.hint ? `: ${record.hint}` : ""; // other hints are for programs
  const sentence = ADVICE[record.code]?.() || `${detail[0].toUpperCase()}${detail.slice(1)}${hint}.`;
  throw problemOf(sentence, { status, ticket: record.ticket, etag, wait });
}

// Sends what changes something, again until the server has answered: under one key it does that once.
export async function send(path, body, headers = {}) {
  const once = { ...headers, "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") };
  for (let seconds = 1, repeated = false; ; seconds = Math.min(2 * seconds, 10), repeated = true) {
    try {
      return await call(path, body, once);
    } catch (problem) {
      if (!problem.wait && ![0, 502, 503, 504].includes(problem.status)) throw Object.assign(problem, { repeated });
      const wait = Math.min(problem.wait || seconds, 60);
      say(problem.message, " ", tr("This may not be stored yet, and is sent again in {0} s.", wait));
      await new Promise((resolve) => {
        setTimeout(resolve, 1000 * wait);
        addEventListener("online", resolve, { once: true });
      });
      if (!state.key) throw problemOf(tr("Signed out: the last change may not be stored."));
    }
  }
}

// Returns the address of the next page of a list, which `Link` has, or null.
export function nextPage(link) {
  const query = /<[^?>]*\?([^>]*)>; rel="next"/.exec(link);
  return query && `tickets?${query[1]}`;
}

// Does what a person asks for, one thing at a time, and says what went wrong.
export async function doing(work) {
  if (state.busy) return;
  state.busy = true;
  try {
    await work();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) state.signOut(problem.message);
    else say(problem.message);
  } finally {
    state.busy = false;
  }
  if (state.me && state.hash !== location.hash) doing(state.openPage);
}
