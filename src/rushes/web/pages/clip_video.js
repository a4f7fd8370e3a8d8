// The video of one clip: loaded ahead, and as a small copy where this browser does not play the file itself.
import { video } from "/static/api.js";

export const loading = (clip) => ({ id: clip.id, clip, url: video("review", clip.id, "file").catch(() => "") });

export function forget(entries) {
  entries.forEach((entry) => entry.url.then((url) => url && URL.revokeObjectURL(url)));
}

export class ClipVideo {
  constructor(player, element, broken) {
    Object.assign(this, { player, element, broken, shown: null, urls: [] });
  }

  // `entry` comes from `loading`. What is shown meanwhile takes its place.
  async play(entry) {
    this.shown = entry;
    this.broken.hidden = true;
    this.element.hidden = false;
    for (const kind of ["file", "copy"]) {
      const url = kind === "file" ? await entry.url : await video("review", entry.id, "copy").catch(() => "");
      if (url) this.urls.push(url);
      if (this.shown !== entry) return;
      const loaded = url && await this.player.load([this.element], [{ ...entry.clip, url }]);
      if (this.shown !== entry) return;
      if (loaded && loaded[0]) {
        this.release(url);
        this.player.play();
        return;
      }
    }
    this.element.hidden = true;
    this.broken.hidden = false;
  }

  // Bytes go once another video plays; before, the element may still be reading them.
  release(url) {
    this.urls.filter((other) => other !== url).forEach((other) => URL.revokeObjectURL(other));
    this.urls = [url];
  }
}
