"use strict";
// One player drives all videos of a case. While it plays, the longest video is the clock and the others follow it;
// when it pauses, steps or scrubs, every video is set to the middle of the same frame.
(() => {
  const players = [];

  class Player {
    constructor(root) {
      this.root = root;
      this.videos = [...root.querySelectorAll("video")];
      this.fps = Math.max(...this.videos.map((v) => Number(v.dataset.fps)));
      this.lead = this.videos.reduce((a, b) => (length(b) > length(a) ? b : a));
      this.last = Math.max(0, Math.round(length(this.lead) * this.fps) - 1);
      this.frame = Math.min(Number(root.dataset.frame) || 0, this.last);
      this.playing = false;
      this.seeking = null;
      this.controls = root.querySelector(".controls");
      this.button = root.querySelector("[data-act=toggle]");
      this.slider = root.querySelector("input");
      this.output = root.querySelector("output");
      this.speed = root.querySelector("select");
      this.slider.max = this.last;
      this.controls.hidden = false;
      for (const video of this.videos) {
        video.controls = false;
        video.addEventListener("error", () => this.broken(video));
      }
      root.addEventListener("click", (event) => this.clicked(event));
      root.addEventListener("keydown", (event) => this.pressed(event));
      this.slider.addEventListener("input", () => { this.pause(); this.show(Number(this.slider.value)); });
      this.speed.addEventListener("change", () => this.videos.forEach((v) => { v.playbackRate = Number(this.speed.value); }));
      this.label();
    }

    load() {
      if (this.loaded) return this.loaded;
      const ready = this.videos.map((video) => new Promise((done) => {
        video.addEventListener("loadeddata", done, { once: true });
        video.addEventListener("error", done, { once: true });
        video.preload = "auto";
        video.src = toBlob(video.getAttribute("src"));
      }));
      this.loaded = Promise.all(ready).then(() => this.show(this.frame));
      return this.loaded;
    }

    broken(video) {
      if (!this.videos.includes(video)) return;
      const words = document.createElement("p");
      words.className = "broken";
      words.textContent = "This browser cannot play this file.";
      video.replaceWith(words);
      this.videos = this.videos.filter((other) => other !== video);
      if (this.videos.length) this.lead = this.videos.reduce((a, b) => (length(b) > length(a) ? b : a));
      else this.controls.hidden = true;
    }

    timeIn(video, frame) {
      const own = Math.min(Math.floor(((frame + 0.5) / this.fps) * video.dataset.fps), video.dataset.frames - 1);
      return (own + 0.5) / video.dataset.fps;
    }

    // Asks that arrive while a seek runs are merged: only the newest frame is shown next.
    show(frame) {
      this.frame = Math.min(this.last, Math.max(0, frame));
      this.label();
      if (!this.seeking) this.seeking = this.seek();
      return this.seeking;
    }

    async seek() {
      for (let shown = -1; shown !== this.frame;) {
        shown = this.frame;
        await Promise.all(this.videos.map((video) => new Promise((done) => {
          if (video.readyState < 1) return done();
          video.addEventListener("seeked", done, { once: true });
          video.addEventListener("error", done, { once: true });
          video.currentTime = this.timeIn(video, shown);
        })));
      }
      this.seeking = null;
    }

    async play() {
      players.forEach((other) => other !== this && other.pause());
      this.playing = true;
      this.label();
      await this.load();
      await this.show(this.frame >= this.last ? 0 : this.frame);
      await this.start();
    }

    async start() {
      if (!this.playing || !this.videos.length) return;
      this.videos.forEach((video) => { video.playbackRate = Number(this.speed.value); });
      // A video that has ended would start again at its first frame; it holds its last until all go back.
      await Promise.all(this.videos.filter((video) => !video.ended).map((video) => video.play().catch(() => {})));
      requestAnimationFrame(() => this.tick());
    }

    async tick() {
      if (!this.playing) return;
      const now = this.lead.currentTime;
      if (this.lead.ended || now >= (this.last + 0.9) / this.fps) {
        this.videos.forEach((video) => video.pause());
        await this.show(0);
        return this.start();
      }
      this.frame = Math.min(this.last, Math.floor(now * this.fps));
      for (const video of this.videos) {
        const end = (video.dataset.frames - 0.5) / video.dataset.fps;
        if (video === this.lead || now > end) continue;
        if (Math.abs(video.currentTime - now) > 0.5 / video.dataset.fps) video.currentTime = now;
      }
      this.label();
      requestAnimationFrame(() => this.tick());
    }

    pause() {
      if (!this.playing) return;
      this.playing = false;
      this.videos.forEach((video) => video.pause());
      this.show(this.frame);
    }

    step(by) {
      this.pause();
      this.load().then(() => this.show(this.frame + by));
    }

    label() {
      this.button.textContent = this.playing ? "❚❚" : "▶";
      this.button.setAttribute("aria-label", this.playing ? "Pause all" : "Play all");
      this.slider.value = this.frame;
      this.slider.setAttribute("aria-valuetext", `frame ${this.frame + 1} of ${this.last + 1}`);
      this.output.textContent = `${this.frame + 1} / ${this.last + 1}`;
    }

    toggle() { if (this.playing) this.pause(); else this.play(); }

    clicked(event) {
      const act = event.target.dataset.act;
      if (act === "toggle" || event.target.tagName === "VIDEO") this.toggle();
      else if (act === "back") this.step(-1);
      else if (act === "forward") this.step(1);
      else if (act === "large") this.root.classList.toggle("large");
    }

    pressed(event) {
      if (event.key === "Escape") this.root.classList.remove("large");
      if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        " ": () => this.toggle(), k: () => this.toggle(),
        ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
        Home: () => this.step(-this.last - 1), End: () => this.step(this.last + 1),
      };
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    }
  }

  function length(video) { return video.dataset.frames / video.dataset.fps; }

  // Some browsers do not seek in data: addresses; all seek in blobs.
  function toBlob(address) {
    const [head, body] = address.split(",", 2);
    const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    return URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
  }

  // What is near the screen loads first, the rest afterwards one by one, so that printing finds every first frame.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      players.find((player) => player.root === entry.target).load();
    }
  }, { rootMargin: "600px" });

  // The case that is most in view plays by itself, until somebody touches one or where less motion is asked for.
  let alone = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const view = new IntersectionObserver((entries) => {
    for (const entry of entries) players.find((player) => player.root === entry.target).inView = entry.intersectionRatio;
    if (!alone) return;
    const most = players.reduce((a, b) => ((b.inView || 0) > (a.inView || 0) ? b : a));
    if ((most.inView || 0) < 0.6) players.forEach((player) => player.pause());
    else if (!most.playing) most.play();
  }, { threshold: [0, 0.3, 0.6, 0.8, 1] });

  for (const root of document.querySelectorAll("[data-player]")) {
    players.push(new Player(root));
    near.observe(root);
    view.observe(root);
    for (const touch of ["pointerdown", "keydown"]) root.addEventListener(touch, () => { alone = false; });
  }
  addEventListener("load", () => players.reduce((before, player) => before.then(() => player.load()), Promise.resolve()));

  // Videos print as empty boxes, so paper gets a still of each; closed details would be lost, so they open.
  let closed = [], stills = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => { details.open = true; });
    stills = [...document.querySelectorAll("video")].filter((video) => video.readyState >= 2).map(still);
  });
  addEventListener("afterprint", () => {
    closed.forEach((details) => { details.open = false; });
    stills.forEach((canvas) => canvas.remove());
  });

  function still(video) {
    const canvas = document.createElement("canvas");
    canvas.className = "still";
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    video.after(canvas);
    return canvas;
  }
})();
