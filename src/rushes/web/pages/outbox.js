// Answers that this browser keeps until the server has acknowledged them, sent in their order; they outlive the page.
import { Refusal } from "/static/api.js";
import { read, write } from "/static/session.js";

export class Outbox {
  // send: one body -> a promise of the answer; sent: is told each answer and its body; refused: a body that will never be taken.
  constructor(key, send, sent, refused) {
    this.key = key;
    this.send = send;
    this.sent = sent;
    this.refused = refused;
    this.running = null;
  }

  waiting() { return read(this.key) || []; }

  add(body) { write(this.key, [...this.waiting(), body]); }

  drop(body) { write(this.key, this.waiting().filter((queued) => queued.event !== body.event)); }

  // Ends when all is sent; throws where the server does not know this person, or `refused` throws.
  flush() {
    this.running ||= this.drain().finally(() => { this.running = null; });
    return this.running;
  }

  async drain() {
    for (let [body] = this.waiting(); body; [body] = this.waiting()) {
      try {
        this.sent(await this.send(body), body);
      } catch (error) {
        if (!(error instanceof Refusal) || error.status === 401) throw error;
        this.drop(body);
        await this.refused(body, error);
        continue;
      }
      this.drop(body);
    }
  }
}
