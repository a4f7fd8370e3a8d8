// Choices of clips, as the server has them, in the order of their keys.
import { text } from "/static/text.js";

export const QUEUES = ["undecided", "near", "dropped", "in_set", "people", "all"].map((name) => ({ name, title: text(`queue.${name}`) }));
