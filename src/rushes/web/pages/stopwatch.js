// Seconds that somebody has worked: time in another window, and more than a minute without a key or a move, do not count.
const IDLE_S = 60;

export class Stopwatch {
  constructor() {
    this.restart();
    document.addEventListener("visibilitychange", () => { this.count(); this.away = document.hidden; });
    for (const kind of ["keydown", "pointermove", "pointerdown", "wheel"]) addEventListener(kind, () => this.count(), { passive: true });
  }

  restart(seconds = 0) {
    this.seconds = seconds;
    this.away = document.hidden;
    this.last = performance.now();
  }

  count() {
    const now = performance.now();
    if (!this.away) this.seconds += Math.min(IDLE_S, (now - this.last) / 1000);
    this.last = now;
    return this.seconds;
  }

  read() { return Math.round(10 * this.count()) / 10; }
}
