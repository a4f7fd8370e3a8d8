const SPEEDS = [0.25, 0.5, 1, 1.5, 2];

// Plays several videos in step. While they play, the first is the clock and the others follow it; when they pause or
// step, every video is set to the middle of the same frame.
export class Player {
  constructor(changed = () => {}) {
    this.videos = [];
    this.changed = changed;
    this.frame = 0;
    this.rate = 1;
    this.playing = false;
    this.seeking = null;
    this.turn = 0;
    this.plays = 0;            // how often all frames were played
    this.unplayed = new Set(); // frames that were not since then
  }

  // clips: one {url, fps, frames, width_px} for each video, in order; the shortest of the `compared` first sets the length.
  async load(videos, clips, compared = 2) {
    const turn = ++this.turn;
    this.playing = false;
    this.seeking = null;
    this.videos.forEach((video) => video.pause());
    this.clips = clips;
    this.videos = videos;
    this.fps = clips[0].fps;
    this.frames = Math.max(1, Math.round(Math.min(...clips.slice(0, compared).map((clip) => clip.frames / clip.fps)) * this.fps));
    this.from = 0;
    this.to = this.frames;
    this.frame = 0;
    this.plays = 0;
    this.unplayed = new Set(Array(this.frames).keys());
    const results = await Promise.all(this.videos.map((video, index) => new Promise((done) => {
      video.onloadeddata = () => done(true);
      video.onerror = () => done(false);
      video.classList.toggle("small", clips[index].width_px <= 160);
      video.src = clips[index].url;
    })));
    if (turn !== this.turn) return null;
    await this.show(0);
    return results;
  }

  timeIn(index, frame) {
    const clip = this.clips[index];
    const own = Math.min(Math.floor(((frame + 0.5) / this.fps) * clip.fps), clip.frames - 1);
    return (own + 0.5) / clip.fps;
  }

  // Asks that arrive while a seek runs are merged: only the newest frame is shown next.
  show(frame) {
    this.frame = Math.min(this.frames - 1, Math.max(0, frame));
    this.changed();
    if (!this.seeking) this.seeking = this.seek(this.turn);
    return this.seeking;
  }

  async seek(turn) {
    for (let shown = -1; shown !== this.frame && turn === this.turn;) {
      shown = this.frame;
      await Promise.all(this.videos.map((video, index) => new Promise((done) => {
        if (video.readyState < 1 || video.error) return done();
        video.addEventListener("seeked", done, { once: true });
        video.addEventListener("error", done, { once: true });
        setTimeout(done, 2000);
        video.currentTime = this.timeIn(index, shown);
      })));
    }
    if (turn === this.turn) this.seeking = null;
  }

  loop(from, to) {
    this.from = from;
    this.to = to;
    if (this.frame < from || this.frame >= to) this.jump(from);
  }

  async jump(frame) {
    const playing = this.playing;
    this.playing = false;
    this.videos.forEach((video) => video.pause());
    await this.show(frame);
    if (playing) await this.play();
  }

  async play() {
    const turn = this.turn;
    this.playing = true;
    this.changed();
    await (this.seeking || this.show(this.frame >= this.to - 1 || this.frame < this.from ? this.from : this.frame));
    await this.start(turn);
  }

  async start(turn) {
    if (!this.playing || turn !== this.turn) return;
    this.videos.forEach((video) => { video.playbackRate = this.rate; });
    // A video that has ended would start again at its first frame; it holds its last until all go back.
    await Promise.all(this.videos.filter((video) => !video.ended).map((video) => video.play().catch(() => {})));
    requestAnimationFrame(() => this.tick(turn));
  }

  async tick(turn) {
    if (!this.playing || turn !== this.turn) return;
    const lead = this.videos[0];
    const now = lead.currentTime;
    if (lead.ended || now >= (this.to - 0.1) / this.fps) {
      this.videos.forEach((video) => video.pause());
      this.played(this.to - 1);
      await this.show(this.from);
      return this.start(turn);
    }
    this.played(Math.min(this.frames - 1, Math.floor(now * this.fps)));
    this.videos.forEach((video, index) => {
      const clip = this.clips[index];
      if (index === 0 || now > (clip.frames - 0.5) / clip.fps || video.seeking) return;
      if (Math.abs(video.currentTime - now) > 0.5 / clip.fps) video.currentTime = now;
    });
    this.changed();
    requestAnimationFrame(() => this.tick(turn));
  }

  // Goes on to a frame; those between went by since the last look, unless they are too many for that.
  played(frame) {
    const since = frame >= this.frame && frame - this.frame < this.fps ? this.frame : frame;
    for (let at = since; at <= frame; at += 1) this.unplayed.delete(at);
    this.frame = frame;
    if (this.unplayed.size) return;
    this.plays += 1;
    this.unplayed = new Set(Array(this.frames).keys());
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.videos.forEach((video) => video.pause());
    this.show(this.frame);
  }

  get empty() { return false; }  // whether there is nothing that could be played

  toggle() { if (this.playing) this.pause(); else this.play(); }

  step(by) { this.pause(); this.show(this.frame + by); }

  speed(rate) {
    this.rate = rate;
    this.videos.forEach((video) => { video.playbackRate = rate; });
    this.changed();
  }

  // The next speed, or the one before; round and round with `turn`.
  faster(by, turn = false) {
    const at = SPEEDS.indexOf(this.rate) + by;
    this.speed(SPEEDS[turn ? at % SPEEDS.length : Math.min(SPEEDS.length - 1, Math.max(0, at))]);
  }
}
