// Numbers and moments as people read them.

import { element } from "./dom.js";

const DAY = 86400;

// Made once: making one takes longer than a thousand uses.
const TIME = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DATE = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });
const WHOLE = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const WHOLES = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// A moment from ISO 8601: the time of day for today, the date too for other days.
export function when(iso, otherwise = "never") {
  if (!iso) return otherwise;
  const moment = new Date(iso);
  const isToday = moment.toDateString() === new Date().toDateString();
  const text = isToday ? timeOfDay(moment) : DATE.format(moment);
  return element("time", { dateTime: iso, title: WHOLE.format(moment) }, text);
}

export const timeOfDay = (moment) => TIME.format(moment);

// "in 4 min", "3 h ago".
export function fromNow(iso, now = Date.now()) {
  if (!iso) return "never";
  const seconds = Math.round((new Date(iso) - now) / 1000);
  return seconds >= 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
}

// Seconds in the two largest units: "45 s", "4 min", "3 h 20 min", "12 d".
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600)
    return whole % 60 && whole < 600
      ? `${Math.floor(whole / 60)} min ${whole % 60} s`
      : `${Math.floor(whole / 60)} min`;
  const hours = Math.floor(whole / 3600);
  if (whole < DAY) return whole % 3600 >= 60 ? `${hours} h ${Math.floor((whole % 3600) / 60)} min` : `${hours} h`;
  const days = Math.floor(whole / DAY);
  return hours % 24 && days < 10 ? `${days} d ${hours % 24} h` : `${days} d`;
}

// 1284 → "1,284"; 1284000 → "1.28 M".
export function count(number) {
  if (number === null || number === undefined) return "–";
  return (number < 100 ? TENTHS : number < 1e5 ? WHOLES : COMPACT).format(number);
}

// "1 session", "7 sessions".
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export function milliseconds(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const ms = seconds * 1000;
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 1 ? 2 : ms < 10 ? 1 : 0)} ms`;
}

export function dollars(amount) {
  if (amount === null || amount === undefined) return "–";
  return `$${amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: amount && amount < 1 ? 4 : 2 })}`;
}
