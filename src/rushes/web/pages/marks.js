// What is said of one pair while it is said: a mark for each question and part, spans, reasons, strength, broken clips;
// what is chosen; and what can be undone. A mark is 1 (A is better), 0 (tie), -1 (B), null (cannot tell) or undefined.
const LEAST_SHARE = 0.1; // of a part: spans that cover less of it say nothing about it

export class Marks {
  // partTimes: [start, end] of each part in seconds.
  constructor(questions, partTimes, given = {}) {
    this.questions = questions;
    this.partTimes = partTimes;
    this.parts = partTimes.length;
    const labels = given.labels || {};
    const remarks = given.remarks || {};
    this.state = {
      values: questions.map((name) => Array.from({ length: this.parts }, (_, at) => labels[name]?.[at])),
      auto: Array.from({ length: this.parts }, (_, at) => Boolean(remarks.from_spans?.includes(at))), // made from spans, of the first question
      reasons: Array.from({ length: this.parts }, (_, at) => [...(remarks.reasons?.[at] || [])]),
      spans: (remarks.spans || []).map((span) => ({ ...span, reasons: [...span.reasons] })),
      strength: remarks.strength || "",
      broken: [...(remarks.broken || [])],
    };
    this.row = 0;
    this.column = 0;
    this.span = null;    // the chosen one
    this.marked = null;  // columns that were marked last, which reasons go to until another part is chosen
    this.undone = [];
  }

  get values() { return this.state.values; }

  choose(row, column) {
    this.span = null;
    this.marked = null;
    if (row < 0 && this.state.spans.length) { this.chooseSpan(0); return; }
    this.row = Math.min(this.questions.length - 1, Math.max(0, row));
    this.column = Math.min(this.parts - 1, Math.max(0, column));
  }

  chooseSpan(at) { this.span = Math.min(this.state.spans.length - 1, Math.max(0, at)); }

  // One row or column on, through the spans above the first question.
  move(rows, columns) {
    if (this.span === null) this.choose(this.row + rows, this.column + columns);
    else if (rows > 0) this.choose(this.row, this.column);
    else this.chooseSpan(this.span + columns);
  }

  // Keeps what is there for undo, then changes it.
  change(act) {
    this.undone.push({ state: structuredClone(this.state), row: this.row, column: this.column, span: this.span });
    act(this.state);
  }

  // Marks the chosen span, or the chosen cell or its whole row, and goes on to the next cell that has no mark.
  mark(value, wholeRow = false) {
    if (this.span !== null && !wholeRow) return value === null ? this.removeSpan() : this.markSpan(value);
    const columns = wholeRow ? [...Array(this.parts).keys()] : [this.column];
    this.change(({ values, auto }) => columns.forEach((column) => {
      values[this.row][column] = value;
      if (this.row === 0) auto[column] = false;
    }));
    const next = this.column + 1;
    if (!wholeRow && next < this.parts) this.choose(this.row, next);
    else this.toEmpty();
    this.span = null;
    this.marked = columns;
  }

  // ---- spans ------------------------------------------------------------------------------------------------------

  addSpan(start_s, end_s) {
    this.change(({ spans }) => {
      spans.push({ start_s, end_s, mark: null, reasons: [] });
      spans.sort((first, second) => first.start_s - second.start_s);
    });
    this.span = this.state.spans.findIndex((span) => span.start_s === start_s && span.end_s === end_s);
  }

  markSpan(value) {
    this.change(({ spans }) => { spans[this.span].mark = value; });
    this.fromSpans();
  }

  removeSpan() {
    if (this.span === null) return;
    this.change(({ spans }) => { spans.splice(this.span, 1); });
    this.span = null;
    this.fromSpans();
  }

  // Labels of parts that nobody marked: the side that more of the marked seconds are for, and ties where spans say
  // nothing. Without marked spans these parts have no label.
  fromSpans() {
    const marked = this.state.spans.filter((span) => span.mark !== null);
    this.partTimes.forEach(([from, to], column) => {
      if (this.values[0][column] !== undefined && !this.state.auto[column]) return;
      const sums = marked.map((span) => span.mark * Math.max(0, Math.min(to, span.end_s) - Math.max(from, span.start_s)));
      const sum = sums.reduce((total, seconds) => total + seconds, 0);
      const says = Math.abs(sum) >= LEAST_SHARE * (to - from);
      this.values[0][column] = marked.length ? (says ? Math.sign(sum) : 0) : undefined;
      this.state.auto[column] = marked.length > 0;
    });
  }

  // ---- what is said beside the marks ------------------------------------------------------------------------------

  // Columns that a reason goes to.
  targets() { return this.marked || [this.column]; }

  // Reasons that all of the chosen have.
  chosenReasons() {
    if (this.span !== null) return this.state.spans[this.span].reasons;
    const [first, ...rest] = this.targets().map((column) => this.state.reasons[column]);
    return first.filter((word) => rest.every((words) => words.includes(word)));
  }

  toggleReason(word) {
    const off = this.chosenReasons().includes(word);
    const toggled = (words) => (off ? words.filter((other) => other !== word) : [...new Set([...words, word])]);
    this.change(({ spans, reasons }) => {
      if (this.span !== null) spans[this.span].reasons = toggled(spans[this.span].reasons);
      else this.targets().forEach((column) => { reasons[column] = toggled(reasons[column]); });
    });
  }

  setStrength(word) { this.change((state) => { state.strength = state.strength === word ? "" : word; }); }

  setBroken(sides) { this.change((state) => { state.broken = sides; }); }

  toggleBroken(side) {
    const { broken } = this.state;
    this.setBroken(broken.includes(side) ? broken.filter((other) => other !== side) : [...broken, side].sort());
  }

  // None, A, B, both, and round again.
  nextBroken() {
    const turns = [[], ["a"], ["b"], ["a", "b"]];
    const at = turns.findIndex((sides) => sides.join() === this.state.broken.join());
    this.setBroken(turns[(at + 1) % turns.length]);
  }

  undo() {
    const before = this.undone.pop();
    if (!before) return false;
    this.state = before.state;
    this.choose(before.row, before.column);
    this.span = before.span;
    return true;
  }

  // Who says that a clip is broken need not label the rest.
  unjudgedWhereBroken() {
    if (!this.state.broken.length) return;
    this.change(({ values }) => values.forEach((row) => row.forEach((value, at) => { if (value === undefined) row[at] = null; })));
  }

  empty() { return this.values.flat().filter((value) => value === undefined).length; }

  toEmpty() {
    const row = this.values.findIndex((values) => values.includes(undefined));
    if (row >= 0) this.choose(row, this.values[row].indexOf(undefined));
  }

  labels() { return Object.fromEntries(this.questions.map((name, row) => [name, this.values[row]])); }

  // Spans that were never marked say nothing and are left out.
  remarks() {
    const { reasons, spans, auto, strength, broken } = this.state;
    return {
      reasons: reasons.some((words) => words.length) ? reasons : [],
      spans: spans.filter((span) => span.mark !== null),
      from_spans: auto.flatMap((is, at) => (is ? [at] : [])),
      strength: this.values.flat().some(Boolean) ? strength : "",  // of ties nothing is much better
      broken,
    };
  }
}
